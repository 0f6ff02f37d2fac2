"""What is known of models that see or hear before their weights are there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny
from tests.engines.senses.showing import asked, said
from tests.tiny_media import picture, sound
from vllm_flow.engines.transformers.foresee import foresee
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.senses import foreseen_senses, senses
from vllm_flow.models.spec import Architecture, Model

Saved = Callable[[str], Path]


@pytest.mark.parametrize("family", ["qwen3_vl", "llava", "qwen2_audio"])
@pytest.mark.parametrize("quantize", [None, "int8"])
def test_tokens_and_bytes_are_those_of_a_run(family: str, quantize: str | None, saved: Saved) -> None:
    model = Model(family, path=str(saved(family)))
    foreseen, loaded = foresee(model, "float32", quantize), load(model, "cpu", "float32", False, quantize)  # type: ignore[arg-type]
    prompt = asked(said("Well?", sound(1) if family == "qwen2_audio" else picture(1, 90, 60)))
    assert foreseen.measure is not None
    assert foreseen.measure(prompt) == loaded.renderer.measure(prompt)
    assert foreseen.count(prompt) == len(loaded.renderer.ids(prompt)) == loaded.renderer.measure(prompt).tokens
    assert foreseen.weight_bytes == loaded.facts["weight_bytes"]
    assert foreseen.kv_bytes_per_token == loaded.facts["kv_bytes_per_token"]
    loaded.network.close()


def test_a_folder_tells_by_its_configuration_what_its_model_reads(saved: Saved, tmp_path: Path) -> None:
    kinds = {
        name: Transformers(Model(name, path=str(saved(name)))).capabilities().media for name in ("llava", "qwen2_audio")
    }
    assert kinds == {"llava": {"image"}, "qwen2_audio": {"audio"}}
    text = tiny.save(tmp_path, "Llama")
    for model in (
        Model("text", path=str(text)), Model("none", path=str(tmp_path / "nowhere")),
        Model("random", architecture=Architecture(32, 2, 4)), Model("file", gguf="x.gguf", hub="a/b"),
    ):  # fmt: skip
        assert foreseen_senses(model) == frozenset()
    (tmp_path / "config.json").write_text("[]")
    assert foreseen_senses(Model("text", path=str(tmp_path))) == frozenset()
    assert foreseen_senses(Model("hub", hub="a/b")) == {"image", "audio"}


def test_a_configuration_needs_a_tower_and_a_place_in_the_text() -> None:
    both = {"vision_config": {}, "image_token_id": 3, "audio_config": {}, "audio_token_index": 4}
    assert senses(both) == {"image", "audio"}
    assert senses({**both, "image_token_id": None}) == {"audio"}
    assert senses({**both, "audio_config": None}) == {"image"}


def test_what_a_model_reads_is_known_without_torch(saved: Saved) -> None:
    code = (
        "import json, sys\nfrom vllm_flow.engines.transformers.options import Transformers\n"
        "from vllm_flow.models.spec import Model\n"
        f"media = Transformers(Model('x', path={str(saved('llava'))!r})).capabilities().media\n"
        "print(json.dumps([sorted(media), [one for one in ('torch', 'numpy', 'PIL', 'transformers') if one in sys.modules]]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [["image"], []]
