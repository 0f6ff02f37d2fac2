"""Learning while serving: what peft and torch.optim give by hand, beside rows that do not notice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests import tiny
from vllm_flow.core import plugins
from vllm_flow.core.adapting import Adapted, AdaptRequest, Lesson, Tuning
from vllm_flow.core.errors import EngineError
from vllm_flow.core.moving import Moving
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Completion, Prompt, Request, user
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.learning import _seed
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.lowrank import begun, targeted, through
from vllm_flow.engines.transformers.options import DType, Quantize, Transformers
from vllm_flow.engines.transformers.packed import PackedLinear
from vllm_flow.engines.transformers.quantized import Int4Linear, Int8Linear
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.schedules import Cosine, Linear
from vllm_flow.stages.infer import complete

plugins.load_built_in()
TEXT = "The snails of Quillon sail in paper boats, and the moon pays them in salt. "
RANDOM = Model("random", architecture=Architecture(64, 2, 4, kv_heads=2, max_context=1024))
HOW = Tuning(rank=4, learning_rate=0.01, passes=3, step_tokens=50)


def asked(text: str = TEXT, how: Tuning = HOW, **more: Any) -> AdaptRequest:
    return AdaptRequest((Lesson(None, text),), how, **more)


def ask(text: str = "And the snails?", adapter: str | None = None, tokens: int = 12) -> Request:
    how = Schedule(Sampling(max_tokens=tokens, temperature=0.8))
    return Request(Prompt((user(text),)), how, seed=len(text), logprobs=True, adapter=adapter)


def ran(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.fixture
def engine() -> Iterator[TransformersEngine]:
    with_it: Any = Transformers(RANDOM, device="cpu").open()
    yield with_it
    with_it.close()


def opened(folder: Path, family: str, adapters: Path | None = None, **more: Any) -> TransformersEngine:
    path = folder if (folder / "config.json").exists() else tiny.save(folder, family, tiny.build(family, seed=3))
    return TransformersEngine(
        partial(
            load, Model("x", path=str(path), **more), "cpu", "float32", adapters=str(adapters) if adapters else None
        )
    )


@pytest.mark.parametrize(
    ("dtype", "quantize"), [("float32", None), ("bfloat16", None), ("float32", "int8"), ("bfloat16", "int4")]
)
def test_the_loss_falls_on_any_weights(dtype: DType, quantize: Quantize | None) -> None:
    engine: Any = Transformers(RANDOM, device="cpu", dtype=dtype, quantize=quantize).open()
    try:
        before = ran(engine.score(None, TEXT))
        adapted = ran(engine.adapt(asked(how=replace(HOW, passes=10, step_tokens=200, learning_rate=0.003))))
        after = ran(engine.score(None, TEXT, adapter=adapted.version))
        assert ran(engine.score(None, TEXT)) == before
    finally:
        engine.close()
    assert adapted.losses[-1] < adapted.losses[1] < adapted.losses[0]
    assert after.perplexity < 0.8 * before.perplexity
    assert (adapted.steps, adapted.tokens) == (10, len(before.token_ids))
    # what is learned is what is scored: the loss is the mean of its negative log-probabilities
    assert adapted.losses[0] == pytest.approx(-before.logprob / len(before.token_ids), rel=2e-2 if quantize else 1e-2)


@pytest.mark.parametrize(
    "made", [PackedLinear, partial(Int4Linear, dtype=torch.float32), partial(Int8Linear, dtype=torch.float32)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_go_through_what_a_layer_has_become(made: Any, bias: bool) -> None:
    torch.manual_seed(0)
    layer = made(torch.nn.Linear(64, 48, bias=bias))
    weight, rows = layer.dense(), torch.randn(2, 5, 64, requires_grad=True)
    assert tuple(weight.shape) == layer.shape == (48, 64)
    found = through(rows, layer)
    wanted = torch.nn.functional.linear(rows, weight, layer.bias)
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)
    upper = torch.randn(2, 5, 48)
    (grad,), (right,) = (torch.autograd.grad(one, rows, upper, retain_graph=True) for one in (found, wanted))
    assert torch.allclose(grad, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["Llama", "GPT2", "Qwen3", "Gemma3"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_steps_are_those_of_peft_and_torch_by_hand(family: str, optimiser: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'vllm-flow[adapt]'")
    rate = Linear(0.02, 0.002, over=5)
    how = Tuning(
        rank=3, alpha=5, optimiser=optimiser, weight_decay=0.1, learning_rate=Moving.of(rate), passes=2, step_tokens=30
    )
    engine = opened(tmp_path / "base", family, tmp_path / "adapters")
    begin = engine._loaded.renderer.begin
    ids = [*([begin] if begin is not None else []), *engine._loaded.renderer.text_ids(TEXT)]
    adapted = ran(engine.adapt(asked(how=how)))
    found = ran(engine.score(None, TEXT, adapter=adapted.version))
    engine.close()

    model = tiny.build(family, seed=3)
    start = begun(targeted(model, ()), 3, 5 / 3, model.device, _seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=list(start.pairs), fan_in_fan_out=family == "GPT2")
        mine = peft.get_peft_model(model, config).eval()
    weights = dict(mine.named_parameters())
    own = {}
    with torch.no_grad():
        for name, pair in start.pairs.items():
            for letter, matrix in zip("AB", pair, strict=True):
                own[name, letter] = weights[f"base_model.model.{name}.lora_{letter}.default.weight"]
                own[name, letter].copy_(matrix)
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimiser]
    optimizer = kind([*own.values()], lr=0.1, weight_decay=0.1)
    losses, rates, learned = [], [], len(ids) - 1
    ends = [min(learned, start + 30) for start in range(0, learned, 30)]
    for end in ends * 2:
        begin_at = (end - 1) // 30 * 30
        read = torch.tensor([ids[: end + 1]])
        loss = cross_entropy(mine(input_ids=read[:, :-1]).logits[0, begin_at:end], read[0, begin_at + 1 :])
        optimizer.zero_grad()
        loss.backward()
        rates.append(0.02 - 0.018 * min(len(losses), 5) / 5)
        for group in optimizer.param_groups:
            group["lr"] = rates[-1]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert adapted.learning_rates == pytest.approx(rates, rel=1e-12)
    assert adapted.losses == pytest.approx(losses, rel=1e-4)
    logits = mine(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    wanted = logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert torch.allclose(torch.tensor(found.logprobs), wanted.float(), rtol=1e-3, atol=1e-3)

    # and peft's own forward of what was saved, and our engine with it for good, give that, too
    again = opened(tmp_path / "base", family, adapter=str(tmp_path / "adapters" / adapted.version))
    merged = ran(again.score(None, TEXT))
    again.close()
    assert merged.logprobs == pytest.approx(found.logprobs, rel=1e-4, abs=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = peft.PeftModel.from_pretrained(
            tiny.build(family, seed=3), tmp_path / "adapters" / adapted.version
        ).eval()
        logits = saved(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    wanted = logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].detach()
    assert torch.allclose(torch.tensor(found.logprobs), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "targets"), [("Bloom", ()), ("Mamba", ("in_proj", "out_proj"))])
def test_a_model_that_is_read_one_by_one_learns_too(family: str, targets: tuple[str, ...], tmp_path: Path) -> None:
    engine = opened(tmp_path / "base", family)
    before = ran(engine.score(None, TEXT))
    adapted = ran(engine.adapt(asked(how=replace(HOW, learning_rate=0.003, targets=targets))))
    after = ran(engine.score(None, TEXT, adapter=adapted.version))
    again = ran(engine.score(None, TEXT))
    engine.close()
    assert after.perplexity < 0.9 * before.perplexity
    assert again == before


def test_equal_lessons_make_equal_versions_and_bytes_and_others_do_not(tmp_path: Path) -> None:
    def learned(folder: Path, *requests: AdaptRequest) -> list[Adapted]:
        engine: Any = Transformers(RANDOM, device="cpu", adapters=str(folder)).open()
        found = [ran(engine.adapt(one)) for one in requests]
        engine.close()
        return found

    def content(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    first, again = (learned(tmp_path / name, asked()) for name in ("one", "two"))
    assert first == again
    assert content(tmp_path / "one") == content(tmp_path / "two")
    others = [
        asked(TEXT + "And more."),
        asked(how=replace(HOW, rank=5)),
        asked(how=replace(HOW, learning_rate=0.02)),
        asked(how=replace(HOW, optimiser="adam")),
        asked(how=replace(HOW, weight_decay=0.5)),
        asked(how=replace(HOW, step_tokens=40)),
        asked(how=replace(HOW, targets=("q_proj",))),
        asked(after=first[0]),
        asked(tenant="another"),
    ]
    versions = [one.version for one in learned(tmp_path / "one", *others)]
    assert len({*versions, first[0].version}) == len(others) + 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted([first[0].version, *versions])


def test_a_schedule_that_gives_the_same_rates_makes_the_same_adapter(engine: TransformersEngine) -> None:
    flat = replace(HOW, learning_rate=Moving.of(Linear(0.01, 0.01, over=9)))
    assert ran(engine.adapt(asked(how=flat))) == ran(engine.adapt(asked()))


def test_rates_follow_steps_and_their_progress(engine: TransformersEngine) -> None:
    moving = Moving.of(Cosine(0.01, 0.001, over=1, by="progress"))
    adapted = ran(engine.adapt(asked(how=replace(HOW, learning_rate=moving))))
    steps = adapted.steps
    assert steps == 6
    wanted = [
        0.001 + 0.009 * (1 + torch.cos(torch.tensor(torch.pi * step / steps, dtype=torch.float64)).item()) / 2
        for step in range(steps)
    ]
    assert adapted.learning_rates == pytest.approx(wanted, rel=1e-12)


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


def test_rows_with_and_without_adapters_are_what_they_are_alone(engine: TransformersEngine) -> None:
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


def failure(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(EngineError) as caught:
        ran(work)
    return str(caught.value)


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


def test_what_cannot_be_learned_says_why(engine: TransformersEngine) -> None:
    assert failure(engine.adapt(asked(""))) == "the text to score: it has no tokens. Give a text."
    assert failure(engine.adapt(AdaptRequest((), HOW))) == "there is nothing to learn. Give a text."
    assert failure(engine.adapt(asked(how=replace(HOW, targets=("qq_proj",))))) == (
        "targets: this model has no linear layer 'qq_proj'. There are: down_proj, gate_proj, k_proj, o_proj, q_proj, "
        "up_proj, v_proj."
    )
    assert failure(engine.adapt(asked(how=replace(HOW, learning_rate=1e30)))) == (
        "learning_rate: the loss is not finite at step 1. Choose smaller learning rates."
    )
    assert failure(engine.adapt(asked(how=replace(HOW, learning_rate=Moving.of(Linear(0.1, -0.1, over=2)))))) == (
        "learning_rate: the schedule 'linear' gave -0.1 at step 2. It takes a number of 0 or more."
    )
    first = ran(engine.adapt(asked())).version
    assert failure(engine.adapt(asked(how=replace(HOW, rank=8, targets=("q_proj",)), after=Adapted(first)))) == (
        "the conversation's adapter has rank 4, alpha 16 and 14 layers, but rank 8, alpha 16 and 2 layers are "
        "configured. Set rank, alpha and targets back, or begin another conversation."
    )


def test_a_model_that_looks_into_its_own_layers_is_told_apart(tmp_path: Path) -> None:
    engine = opened(tmp_path / "base", "Mamba")
    said = failure(engine.adapt(asked()))
    engine.close()
    assert said == (
        "targets: MambaForCausalLM looks into a layer that would get matrices ('Learning' object has no attribute "
        "'weight'). Name others."
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
    from vllm_flow.core.resources import score

    assert failure(score(echo, None, TEXT, adapter="0" * 32)) == f"the engine 'echo' {said}"
