"""What is foreseen of a model is what it then takes, and what a run would refuse is refused."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests import tiny
from vllm_flow.core.errors import EngineError, ModelError
from vllm_flow.core.media import Image
from vllm_flow.core.messages import user
from vllm_flow.core.values import Prompt
from vllm_flow.engines.transformers.foresee import foresee
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.options import DType, Quantize
from vllm_flow.models.spec import Architecture, Model

SHAPE = Architecture(64, 3, 4, kv_heads=2, max_context=200)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantize", [None, "int4", "int8"])
@pytest.mark.parametrize("layers", [None, "1", "0,0,2"])
def test_the_bytes_are_those_that_are_loaded(dtype: DType, quantize: Quantize | None, layers: str | None) -> None:
    model = Model("random", architecture=SHAPE, layers=layers)
    foreseen, facts = foresee(model, dtype, quantize), load(model, "cpu", dtype, False, quantize).facts
    assert foreseen.weight_bytes == facts["weight_bytes"]
    assert foreseen.kv_bytes_per_token == facts["kv_bytes_per_token"]
    assert foreseen.context_length == facts["context_length"] == 200


@pytest.mark.parametrize("family", ["Qwen2", "Gemma2", "Phi3"])
@pytest.mark.parametrize("quantize", [None, "int4", "int8"])
def test_so_they_are_of_a_folder(tmp_path: Path, family: str, quantize: Quantize | None) -> None:
    model = Model("tiny", path=str(tiny.save(tmp_path, family)))
    facts = load(model, "cpu", "float32", False, quantize).facts
    foreseen = foresee(model, "float32", quantize)
    assert (foreseen.weight_bytes, foreseen.kv_bytes_per_token) == (facts["weight_bytes"], facts["kv_bytes_per_token"])


def test_a_prompt_that_a_run_would_refuse_is_not_counted_without_its_image() -> None:
    foreseen = foresee(Model("random", architecture=SHAPE), "float32", None)
    prompt = Prompt((user("What is this?", Image("0" * 64, 8, 8, "cat.png")),))
    assert foreseen.measure is not None
    for count in (foreseen.count, foreseen.measure):
        with pytest.raises(EngineError) as caught:
            count(prompt)
        assert str(caught.value) == (
            "the engine 'transformers' reads no images with this model: cat.png. Choose a model that does, or have it "
            "put in words with fuse/describe."
        )


@pytest.mark.parametrize(
    ("changed", "quantize", "problem"),
    [
        ({"context_length": 513}, None, "model.context_length: 513 is more than the 512 tokens this model reads. Lower it."),
        ({"layers": "0,2"}, None, "model.layers: 0,2: there is no layer 2: the model has 2, from 0 to 1. Leave it out."),
        ({}, "int4", "resources.engine.quantize: none of GPT2LMHeadModel's layers can be int4. Set it to null."),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_is_refused(
    tmp_path: Path, changed: dict[str, object], quantize: Quantize | None, problem: str
) -> None:
    folder = str(tiny.save(tmp_path, "GPT2" if quantize else "Llama"))
    for read in (foresee, lambda model, *how: load(model, "cpu", how[0], False, how[1])):
        with pytest.raises(ModelError) as caught:
            read(Model("tiny", path=folder, **changed), "float32", quantize)  # type: ignore[arg-type]
        assert str(caught.value) == problem
    assert foresee(Model("tiny", path=folder, context_length=512), "float32", None).context_length == 512


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[tuple[str, str | None]]]:
    """A hub that has nothing: what it was asked for, and with which key."""
    asked: list[tuple[str, str | None]] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_error(404)

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield asked
        server.shutdown()


def test_the_hub_is_asked_for_the_revision_with_the_token(
    hub: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "opensesame")
    with pytest.raises(ModelError) as caught:
        foresee(Model("x", hub="me/tiny", revision="v2", token="${secret:KEY}"), "float32", None)
    assert str(caught.value).startswith("me/tiny: its configuration or tokenizer cannot be read (")
    assert ("/me/tiny/resolve/v2/config.json", "Bearer opensesame") in hub
    assert {key for path, key in hub if "me/tiny" in path} == {"Bearer opensesame"}


def test_what_the_hub_gave_once_is_not_asked_for_again(hub: list[tuple[str, str | None]], tmp_path: Path) -> None:
    kept = tmp_path / "models--me--tiny"
    tiny.save(kept / "snapshots" / ("a" * 40), "Llama")
    (kept / "refs").mkdir()
    (kept / "refs/v2").write_text("a" * 40)
    assert foresee(Model("x", hub="me/tiny", revision="v2"), "float32", None).context_length == 512
    assert hub == []
