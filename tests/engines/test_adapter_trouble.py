"""What goes wrong with what was learned: full disks, other bytes, numbers that run away; and too much of it at once."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tests import tiny
from tests.engines.lessons import HOW, RANDOM, TEXT, ask, asked, failure, ran
from vllm_flow.core.adapting import Adapted
from vllm_flow.core.errors import EngineError
from vllm_flow.core.values import Completion
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.engines.transformers import adapters
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.loop import Limits
from vllm_flow.engines.transformers.lowrank import LowRank, Pair, begun, learning, targeted
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.transformers.recomputing import recomputed
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete


def opened(folder: Path | str | None = None) -> TransformersEngine:
    engine: Any = Transformers(RANDOM, device="cpu", adapters=folder and str(folder)).open()
    return engine  # type: ignore[no-any-return]


@pytest.fixture
def engine() -> Iterator[TransformersEngine]:
    with_it = opened()
    yield with_it
    with_it.close()


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As a disk that is full: no file of this process takes more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_told_and_nothing_half_written_stays(tmp_path: Path) -> None:
    engine = opened(tmp_path)
    with no_file_beyond(4096):
        said = failure(engine.adapt(asked()))
    folder = re.escape(str(tmp_path))
    words = "cannot be written: File too large. Free some space, or name another folder."
    assert re.fullmatch(rf"resources\.engine\.adapters: {folder}/[0-9a-f]{{32}} {re.escape(words)}", said)
    assert list(tmp_path.iterdir()) == []
    assert ran(engine.adapt(asked())).steps == 6
    engine.close()


def test_a_folder_that_takes_nothing_is_told_before_anything_is_learned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = opened(tmp_path / "file" / "kept")
    said = failure(engine.adapt(asked(how=replace(HOW, learning_rate=1e30))))  # whose second step would fail
    engine.close()
    assert said == (
        f"resources.engine.adapters: {tmp_path}/file/kept cannot be written: Not a directory. Free some space, or name "
        "another folder."
    )
    assert [(one.path, one.problem) for one in Transformers(RANDOM, adapters=" ").problems()] == [
        (("adapters",), "it is empty. Name a folder, or set it to null.")
    ]


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json", "learned.json"])
def test_a_version_whose_bytes_are_others_is_refused_and_learned_again(file: str, tmp_path: Path) -> None:
    engine = opened(tmp_path)
    first = ran(engine.adapt(asked()))
    path = tmp_path / first.version / file
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content if file != "learned.json" else b"")
    said = failure(engine.score(None, TEXT, adapter=first.version))
    assert said.startswith(f"{tmp_path / first.version}: it cannot be read (")
    if file != "learned.json":
        assert "(ValueError: it is not what was saved). Set resources.engine.adapters to the folder" in said
    assert ran(engine.adapt(asked())) == first
    again = ran(engine.score(None, TEXT, adapter=first.version))
    engine.close()
    untouched = opened()
    assert ran(untouched.adapt(asked())) == first
    assert ran(untouched.score(None, TEXT, adapter=first.version)) == again
    untouched.close()
    assert [one.name for one in tmp_path.iterdir()] == [first.version]


def test_of_two_that_learned_the_same_beside_each_other_the_first_one_s_stays(tmp_path: Path) -> None:
    engine = opened(tmp_path)
    first = ran(engine.adapt(asked()))
    place = (tmp_path / first.version).stat().st_ino
    made = engine._loaded.learner.adapters
    made.keep(made.read(first.version)[0], HOW, first, None)
    engine.close()
    assert (tmp_path / first.version).stat().st_ino == place
    assert [one.name for one in tmp_path.iterdir()] == [first.version]


def test_ready_in_memory_are_those_that_were_used_last(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [ran(engine.adapt(asked(f"{place}: {TEXT}"))).version for place in range(3)]
    made = engine._loaded.learner.adapters
    for room, kept in ((2, versions[1:]), (0, versions[2:])):
        monkeypatch.setattr(adapters, "READY_BYTES", room * made.ready(versions[0]).bytes)
        found = [made.ready(version) for version in versions]
        assert list(made._ready) == kept
        assert made.ready(versions[2]) is found[2]


def test_who_asked_first_has_learned_before_another_begins(engine: TransformersEngine) -> None:
    ended: list[str] = []

    async def learn(name: str, passes: int) -> Adapted:
        found = await engine.adapt(asked(f"{name}: {TEXT}", replace(HOW, passes=passes)))
        ended.append(name)
        return found

    async def together(*, cancel: bool) -> None:
        ended.clear()
        first, *others = [
            asyncio.ensure_future(learn(name, passes)) for name, passes in (("a", 40), ("b", 2), ("c", 1))
        ]
        await asyncio.sleep(0.05)
        if cancel:
            first.cancel()
        await asyncio.wait([first, *others])

    ran(together(cancel=True))
    assert ended == ["b", "c"]
    ran(together(cancel=False))
    assert ended == ["a", "b", "c"]


def test_those_that_wait_to_learn_are_told_when_the_engine_closes() -> None:
    engine = opened()

    async def go() -> list[Any]:
        asking = [asyncio.ensure_future(engine.adapt(asked(how=replace(HOW, passes=1000 + one)))) for one in range(3)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(engine.close)
        return await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 20)

    said = {str(one) if isinstance(one, EngineError) else repr(one) for one in ran(go())}
    assert said == {"the engine was closed before the answer was complete. Open a new one."}


def test_no_more_adapters_are_in_use_than_there_is_memory_for_and_tokens_stay() -> None:
    engine = TransformersEngine(partial(load, RANDOM, "cpu", "float32"), Limits(adapter_bytes=1))
    one, other = (ran(engine.adapt(asked(text))).version for text in (TEXT, "Bells ring under water."))
    requests = [
        ask("long?", one, tokens=60),
        ask("short?", one, tokens=2),
        ask("another?", other, tokens=2),
        ask("none?"),
    ]
    alone = [ran(complete(engine, request)) for request in requests]
    ended: list[int] = []

    async def answer(place: int) -> Completion:
        found = await complete(engine, requests[place])
        ended.append(place)
        return found

    async def together() -> list[Completion]:
        return await asyncio.gather(*map(answer, range(4)))

    assert ran(together()) == alone
    engine.close()
    assert ended[:3] == [1, 0, 2]  # the same adapter takes nothing more, another waits; none overtakes it


def test_an_adapter_whose_numbers_are_too_large_is_told_as_what_it_is(engine: TransformersEngine) -> None:
    huge = replace(HOW, passes=1, step_tokens=500, learning_rate=1e38)
    words = (
        "step 0 overflows (value cannot be converted to type float without overflow). Choose smaller learning rates."
    )
    assert failure(engine.adapt(asked(how=huge))) == f"learning_rate: {words}"
    version = ran(engine.adapt(asked(how=replace(huge, learning_rate=1e37)))).version
    rest = "Choose smaller learning rates, and take turns back or begin another conversation."
    what = f"with the adapter {version} the model's logits are not finite at"
    assert failure(complete(engine, ask(adapter=version))) == f"{what} generated token 0. {rest}"
    said = failure(engine.score(None, TEXT, adapter=version))
    assert said == f"{what} tokens 0 to 63 of the text to score. {rest}"


def test_an_engine_elsewhere_does_not_leave_an_adapter_out_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    far = OpenAI(Model("m", served="m"), base_url="http://127.0.0.1:9/v1").open()
    said = failure(complete(far, ask(adapter="0" * 32)))
    far.close()
    assert said == "the engine 'openai' learns nothing while it runs. Choose another, such as engine=transformers."


@pytest.mark.parametrize("family", ["Llama", "GPT2", "Qwen3", "Gemma3", "Bloom"])
def test_gradients_of_what_is_computed_again_are_the_same_and_less_is_kept(family: str) -> None:
    model: Any = tiny.build(family, seed=3).eval().requires_grad_(False)
    start = begun(targeted(model, ()), 3, 2.0, model.device, len)
    torch.manual_seed(0)
    pairs = {name: Pair(one.down, torch.randn_like(one.up) / 8) for name, one in start.pairs.items()}
    matrices = [one.requires_grad_() for pair in pairs.values() for one in pair]
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    def gradients() -> tuple[torch.Tensor, ...]:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(torch.arange(5, 60)[None], use_cache=False).logits[0, :, 7].square().mean()
        return torch.autograd.grad(loss, matrices, allow_unused=True)

    with learning(model, LowRank(pairs, 2.0)):
        wanted, much = gradients(), kept
        kept = 0
        with recomputed(model):
            found = gradients()
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert float(sum(one.abs().sum() for one in found)) > 0
    assert kept < much / 3
    assert not any("forward" in vars(one) for one in model.modules())


def test_a_long_text_is_learned_in_one_step(engine: TransformersEngine) -> None:
    before = ran(engine.score(None, TEXT * 9))
    long = asked(TEXT * 9, replace(HOW, passes=3, step_tokens=700))
    adapted = ran(engine.adapt(long))
    assert adapted.tokens == len(before.token_ids) > 512
    assert adapted.losses[0] == pytest.approx(-before.logprob / adapted.tokens, rel=1e-3)
    assert adapted.losses[2] < adapted.losses[1] < adapted.losses[0]
