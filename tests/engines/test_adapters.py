"""Reading with what was learned: beside rows that do not notice, after restarts, and what is said when it is gone."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.engines.lessons import HOW, RANDOM, TEXT, ask, asked, failure, opened, ran
from vllm_flow.core.adapting import Adapted
from vllm_flow.core.errors import EngineError
from vllm_flow.core.resources import Engine
from vllm_flow.core.taking import score
from vllm_flow.core.values import Completion, Request
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.options import DType, Transformers
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete


@pytest.fixture
def engine() -> Iterator[TransformersEngine]:
    with_it: Any = Transformers(RANDOM, device="cpu").open()
    yield with_it
    with_it.close()


def test_no_weight_of_the_base_changes(tmp_path: Path) -> None:
    engine = opened(tmp_path / "base", "Llama")
    model: Any = engine._loaded.network.model  # type: ignore[attr-defined]

    def weights() -> dict[str, torch.Tensor]:
        packed = {
            f"{name} packed": one._packed.to_dense().clone()
            for name, one in model.named_modules()
            if hasattr(one, "_packed")
        }
        return packed | {name: one.clone() for name, one in model.named_parameters()}

    before, scored = weights(), ran(engine.score(None, TEXT))
    names = {name: type(one) for name, one in model.named_modules()}
    ran(engine.adapt(asked()))
    after, again = weights(), ran(engine.score(None, TEXT))
    engine.close()
    assert len(before) > 14
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name: type(one) for name, one in model.named_modules()} == names
    assert again == scored


@pytest.mark.parametrize("targets", [("v_proj",), ("k_proj", "o_proj"), ("q_proj", "k_proj", "v_proj"), ("up_proj",)])
@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3"])
def test_any_choice_of_layers_is_read_as_peft_reads_it(family: str, targets: tuple[str, ...], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'vllm-flow[adapt]'")
    engine = opened(tmp_path / "base", family, tmp_path / "kept")
    version = ran(engine.adapt(asked(how=replace(HOW, targets=targets)))).version
    found, plain = (ran(engine.score(None, TEXT, adapter=one)) for one in (version, None))
    ids = [engine._loaded.renderer.begin, *found.token_ids]
    engine.close()
    assert engine.describe()["forward"] == "lean"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        model = peft.PeftModel.from_pretrained(tiny.build(family, seed=3), tmp_path / "kept" / version).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    wanted = logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert torch.allclose(torch.tensor(found.logprobs), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(torch.tensor(plain.logprobs), wanted, rtol=1e-2, atol=1e-2)


def test_rows_with_and_without_adapters_are_what_they_are_alone(engine: TransformersEngine) -> None:
    check_rows(engine)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_of_a_trained_model_are_what_they_are_alone(dtype: DType, smollm2: Path) -> None:
    engine: Any = Transformers(Model("smollm2", path=str(smollm2)), device="cpu", dtype=dtype).open()
    check_rows(engine)
    engine.close()


def check_rows(engine: TransformersEngine) -> None:
    async def several(*requests: Request) -> list[Completion]:
        return await asyncio.gather(*(complete(engine, one) for one in requests))

    one, other = (
        ran(engine.adapt(asked(text))).version for text in (TEXT, "Bells ring under water, says the miller. ")
    )
    requests = [
        ask(f"{place} snails?", adapter) for place, adapter in enumerate((None, one, other, None, one, one, other) * 2)
    ]
    alone = [ran(complete(engine, request)) for request in requests]
    assert ran(several(*requests)) == alone  # log-probabilities, too
    assert len({answer.logprobs for answer in alone}) == 14
    plain, adapted = (ran(complete(engine, ask("What?", adapter))) for adapter in (None, one))
    assert plain.logprobs != adapted.logprobs


def test_others_go_on_while_something_is_learned_and_their_tokens_stay(engine: TransformersEngine) -> None:
    requests = [ask(f"{place}: what do snails pay?", tokens=60) for place in range(3)]
    alone = [ran(complete(engine, one)) for one in requests]

    async def beside() -> tuple[list[Completion], Adapted]:
        answers = [asyncio.ensure_future(complete(engine, one)) for one in requests]
        adapted = await engine.adapt(asked(how=replace(HOW, passes=10)))
        assert not all(one.done() for one in answers)
        return await asyncio.gather(*answers), adapted

    answers, adapted = ran(beside())
    assert answers == alone
    assert ran(engine.adapt(asked(how=replace(HOW, passes=10)))) == adapted


def test_learning_that_nobody_waits_for_ends_and_so_does_that_of_an_engine_that_closes(tmp_path: Path) -> None:
    engine: Any = Transformers(RANDOM, device="cpu", adapters=str(tmp_path)).open()
    long = asked(how=replace(HOW, passes=1000))

    async def cancelled() -> Completion:
        learning = asyncio.ensure_future(engine.adapt(long))
        await asyncio.sleep(0.1)
        learning.cancel()
        await asyncio.wait([learning])
        assert learning.cancelled()
        return await complete(engine, ask())

    async def closed() -> str:
        learning = asyncio.ensure_future(engine.adapt(long))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(engine.close)
        with pytest.raises(EngineError) as caught:
            await learning
        return str(caught.value)

    assert len(ran(cancelled()).token_ids) > 0
    assert ran(closed()) == "the engine was closed before the answer was complete. Open a new one."
    assert list(tmp_path.iterdir()) == []


def test_keys_and_values_from_before_an_update_are_not_used_after_it(engine: TransformersEngine) -> None:
    async def cached(adapter: str | None) -> tuple[int, tuple[int, ...]]:
        tokens = [token async for token in engine.generate(ask(TEXT * 3, adapter))]
        finish = tokens[-1].finish
        assert finish is not None
        return finish.cached_tokens, tuple(token.id or 0 for token in tokens)

    first = ran(engine.adapt(asked())).version
    assert ran(cached(None))[0] == 0
    whole, plain = ran(cached(None))
    assert whole > 200
    assert ran(cached(first))[0] == 0
    assert ran(cached(first))[0] == whole
    second = ran(engine.adapt(asked(after=Adapted(first)))).version
    assert ran(cached(second))[0] == 0
    assert ran(cached(None)) == (whole, plain)


def test_a_version_is_there_after_a_restart_and_the_same(tmp_path: Path) -> None:
    adapters = tmp_path / "learned" / "here"
    engine: Any = Transformers(RANDOM, device="cpu", adapters=str(adapters)).open()
    first = ran(engine.adapt(asked()))
    second = ran(engine.adapt(asked("A second text, about other things.", after=first)))
    scored, answer = (
        ran(engine.score(None, TEXT, adapter=second.version)),
        ran(complete(engine, ask("Yes?", second.version))),
    )
    engine.close()
    assert not [path for path in adapters.iterdir() if path.name.startswith(".")]
    assert oct((adapters / second.version / "adapter_model.safetensors").stat().st_mode & 0o777) == "0o600"
    learned = json.loads((adapters / second.version / "learned.json").read_text("utf-8"))
    assert learned["after"] == first.version
    engine = Transformers(RANDOM, device="cpu", adapters=str(adapters)).open()
    assert ran(engine.score(None, TEXT, adapter=second.version)) == scored
    assert ran(complete(engine, ask("Yes?", second.version))) == answer
    assert ran(engine.adapt(asked())) == first  # which is read, not learned again
    assert ran(engine.adapt(asked("A third one.", after=second))).steps == 3
    engine.close()


def test_a_version_that_is_not_there_says_what_to_do(engine: TransformersEngine, tmp_path: Path) -> None:
    version = "0" * 32
    gone = (
        f"the adapter {version} is not there. What is learned ends with the engine unless it has a folder: set "
        "resources.engine.adapters=FOLDER before it learns. Now take turns back, or begin another conversation."
    )
    assert failure(engine.score(None, TEXT, adapter=version)) == gone
    assert failure(complete(engine, ask(adapter=version))) == gone
    assert failure(engine.adapt(asked(after=Adapted(version)))) == gone
    other: Any = Transformers(RANDOM, device="cpu", adapters=str(tmp_path)).open()
    assert failure(other.score(None, TEXT, adapter=version)) == (
        f"the adapter {version} is not there. Set resources.engine.adapters to the folder where it was saved (this is "
        f"{tmp_path}), take turns back, or begin another conversation."
    )
    (tmp_path / "up").mkdir()
    assert failure(other.score(None, TEXT, adapter="up")).startswith("the adapter up is not there. ")
    mine = ran(other.adapt(asked())).version
    (tmp_path / mine / "adapter_model.safetensors").write_bytes(b"\0" * 64)
    assert failure(other.score(None, TEXT, adapter=mine)).startswith(f"{tmp_path / mine}: it cannot be read (")
    other.close()


def test_another_models_adapter_is_refused(tmp_path: Path) -> None:
    engine: Any = Transformers(RANDOM, device="cpu", adapters=str(tmp_path)).open()
    version = ran(engine.adapt(asked())).version
    engine.close()
    other: Any = Transformers(RANDOM, device="cpu", dtype="bfloat16", adapters=str(tmp_path)).open()
    said = failure(other.score(None, TEXT, adapter=version))
    other.close()
    assert said == (
        f"the adapter {version} was learned by another model, or by this one in other numbers or with other layers. "
        "Choose that model again, or begin another conversation."
    )


def test_an_engine_that_adapts_not_says_so() -> None:
    assert Transformers(RANDOM).capabilities().adapts
    assert not Transformers(RANDOM, compile=True).capabilities().adapts
    assert not Transformers(replace(RANDOM, layers="0")).capabilities().adapts
    some: Any = Transformers(replace(RANDOM, layers="0"), device="cpu").open()
    said = "learns nothing while it runs. Choose another, such as engine=transformers."
    assert failure(some.adapt(asked())) == f"the engine 'transformers', as it is configured, {said}"
    assert (
        failure(some.score(None, TEXT, adapter="0" * 32)) == f"the engine 'transformers', as it is configured, {said}"
    )
    some.close()
    echo: Engine = EchoEngine()
    assert failure(score(echo, None, TEXT, adapter="0" * 32)) == f"the engine 'echo' {said}"
    assert failure(complete(echo, ask(adapter="0" * 32))) == f"the engine 'echo' {said}"
