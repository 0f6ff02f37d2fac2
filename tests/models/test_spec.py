"""Model and Architecture: what names no model is said before anything loads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vllm_flow.core import options
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Architecture, Model

PRESETS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model("x"), "nothing says where the weights come from. Give path, gguf, package, hub or architecture."),
        (
            Model("x", package="smollm2", hub="a/b"),
            "package and hub both name weights. Keep one and set the other to null.",
        ),
        (
            Model("x", package="smolm2"),
            "there is no packaged model 'smolm2'. Did you mean 'smollm2'? There are: smollm2.",
        ),
        (
            Model("x", hub="a/b", token="hf_abc"),
            "the token is written out. Write ${secret:NAME} and set the environment variable NAME.",
        ),
        (
            Model("x", architecture=Architecture(8, 1, 2, max_context=64), context_length=65),
            "context_length is 65, but architecture.max_context is 64. Choose at most that.",
        ),
        (Architecture(10, 1, 4), "hidden_size is 10, which 4 heads cannot share evenly. Choose a multiple."),
        (
            Architecture(12, 1, 4),
            "each head gets 3 of hidden_size, but rotary positions need an even number. Choose a multiple of 8.",
        ),
        (Architecture(16, 1, 4, kv_heads=3), "heads is 4, which kv_heads=3 does not divide. Choose a divisor."),
    ],
)
def test_combinations_that_make_no_model_are_explained(model: Model | Architecture, words: str) -> None:
    assert model.problems() == [words]


@pytest.mark.parametrize("own", [{"path": "here"}, {"gguf": "here.gguf"}])
def test_a_folder_or_a_file_of_ones_own_beats_every_other_source(own: dict[str, str]) -> None:
    assert Model("x", **own, package="smollm2", hub="a/b").problems() == []


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_are_models_and_their_folder_can_be_overridden(preset: Path) -> None:
    given = yaml.safe_load(preset.read_text("utf-8"))
    given.pop("defaults", None)
    assert options.problems(Model, given) == []
    model = options.build(Model, given)
    assert model.problems() == []
    assert model.architecture is None or model.architecture.problems() == []
    assert {"path", "context_length"} <= set(given) or "served" in given  # what runs here can be another's weights
    assert set(given) <= {field.name for field in dataclasses.fields(Model)}


def test_a_model_that_a_server_runs_has_no_weights_for_an_engine_that_reads_them() -> None:
    served = Model("x", served="gpt")
    assert served.problems() == []
    assert served.weightless() == [
        "it runs on a server, and no weights are named. Choose engine=openai, or give path, gguf or hub."
    ]
    assert Model("x", served="gpt", hub="a/b").weightless() == []
    (problem,) = Transformers(served).problems()
    assert (problem.path, problem.problem) == (("model",), served.weightless()[0])


def test_the_options_of_all_engines_import_no_torch() -> None:
    code = "import sys, vllm_flow.engines; print([m for m in ('torch', 'transformers', 'gguf') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
