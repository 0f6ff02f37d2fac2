"""Model and Architecture: what names no model is said before anything loads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from vllm_flow.core import options
from vllm_flow.core.option_checks import problems
from vllm_flow.engines.llama_cpp.options import LlamaCpp
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.vllm.options import Vllm
from vllm_flow.models.families import FAMILIES, FamilyName
from vllm_flow.models.spec import Architecture, Model

PRESETS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model("x"), "nothing says where the weights come from. Give path, gguf, package, hub or architecture."),
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
        (Architecture(16, 1, 4, head_dim=5), "head_dim is 5, but rotary positions need an even number. Choose one."),
        (
            Architecture(16, 1, 4, kv_heads=2, family="gpt2"),
            "every head of a gpt2 has its own keys and values. Set kv_heads to null.",
        ),
        (
            Architecture(16, 1, 4, head_dim=8, family="qwen2"),
            "the heads of a qwen2 share hidden_size evenly. Set head_dim to null.",
        ),
        (
            Architecture(16, 1, 4, config={"num_hidden_layers": 3}),
            "config names num_hidden_layers, which is an option of its own. Write layers beside it.",
        ),
        (Architecture(16, 1, 4, kv_heads=3), "heads is 4, which kv_heads=3 does not divide. Choose a divisor."),
    ],
)
def test_combinations_that_make_no_model_are_explained(model: Model | Architecture, words: str) -> None:
    assert model.problems() == [words]


def test_what_rotary_positions_need_is_not_asked_of_families_without_them() -> None:
    assert Architecture(12, 1, 4, family="gpt2").problems() == []
    assert Architecture(10, 1, 4, head_dim=8, family="qwen3").problems() == []


def test_every_family_has_a_name_that_may_be_written() -> None:
    assert set(get_args(FamilyName)) == set(FAMILIES)


@pytest.mark.parametrize("own", [{"path": "here"}, {"gguf": "here.gguf"}, {}])
def test_a_folder_or_a_file_of_ones_own_beats_every_other_source(own: dict[str, str]) -> None:
    assert Model("x", **own, package="smollm2", hub="a/b").problems() == []


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_are_models_and_their_folder_can_be_overridden(preset: Path) -> None:
    given = yaml.safe_load(preset.read_text("utf-8"))
    given.pop("defaults", None)
    assert problems(Model, given) == []
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


def test_an_engine_that_takes_a_model_as_it_is_refuses_what_would_change_it() -> None:
    model = Model("x", gguf="x.gguf", served="x", layers="0-3", adapter="here")
    problem = "this engine takes the model as it is. Leave it out, or choose engine=transformers."
    for options_of in (OpenAI, LlamaCpp, Vllm):
        found = [one for one in options_of(model).problems() if not isinstance(one, str)]
        assert [(one.path, one.problem) for one in found] == [
            (("model", name), problem) for name in ("layers", "adapter")
        ]


def test_the_options_of_all_engines_import_no_torch() -> None:
    code = "import sys, vllm_flow.engines; print([m for m in ('torch', 'transformers', 'gguf') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
