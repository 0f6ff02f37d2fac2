"""Learning while serving: what peft and torch.optim give by hand, from equal lessons equal bytes, or why not."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests import tiny
from tests.engines.lessons import HOW, RANDOM, TEXT, asked, failure, opened, ran
from vllm_flow.core.adapting import Adapted, AdaptRequest, Tuning
from vllm_flow.core.moving import Moving
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.learning import _seed
from vllm_flow.engines.transformers.lowrank import begun, targeted, through
from vllm_flow.engines.transformers.options import DType, Quantize, Transformers
from vllm_flow.engines.transformers.quantized import Int4Linear, Int8Linear
from vllm_flow.models.packed import PackedLinear
from vllm_flow.schedules import Cosine, Linear


@pytest.fixture
def engine() -> Iterator[TransformersEngine]:
    with_it: Any = Transformers(RANDOM, device="cpu").open()
    yield with_it
    with_it.close()


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


def packed(layer: torch.nn.Linear) -> PackedLinear:
    return PackedLinear(layer.weight.data, layer.bias)


@pytest.mark.parametrize(
    "made", [packed, partial(Int4Linear, dtype=torch.float32), partial(Int8Linear, dtype=torch.float32)]
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


def test_what_cannot_be_learned_says_why(engine: TransformersEngine) -> None:
    assert failure(engine.adapt(asked(""))) == "the text to learn: it has no tokens. Give a text."
    assert failure(engine.adapt(asked(TEXT * 14))) == (
        "the prompt has 1 tokens and the text to learn 1050, but the model reads 1024. Learn a shorter text, or choose "
        "a model that reads more."
    )
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
