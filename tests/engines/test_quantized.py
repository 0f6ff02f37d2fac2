"""Weights of 4 and 8 bits: what they cost is at most half a step of each, and nothing where they had no more bits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from torch import nn

from tests import tiny
from vllm_flow.core.errors import ModelError
from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.options import Quantize, Transformers
from vllm_flow.engines.transformers.quantized import Int4Linear, Int8Linear, quantise
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.infer import complete

SHAPE = Architecture(64, 2, 4, kv_heads=2, max_context=200)


def linear(outputs: int = 48, inputs: int = 96, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize("rows", [1, 4, 33])
def test_weights_that_have_only_four_bits_come_back_without_loss(rows: int) -> None:
    layer = linear()
    groups = layer.weight.data.view(48, 3, 32)
    scale, low = torch.rand(48, 3, 1) + 0.5, torch.randn(48, 3, 1)
    digits = torch.randint(0, 16, groups.shape)
    digits[..., 0], digits[..., 1] = 0, 15  # both ends are in use
    groups.copy_(digits * scale + low)
    seen = torch.randn(2, rows, 96)
    with torch.inference_mode():
        assert torch.allclose(Int4Linear(layer, torch.float32)(seen), layer(seen), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kind", "steps"), [(Int4Linear, 15), (Int8Linear, 254)])
@pytest.mark.parametrize("bias", [True, False])
def test_no_weight_is_off_by_more_than_half_a_step(kind: Any, steps: int, bias: bool) -> None:
    layer = linear(bias=bias)
    with torch.inference_mode():
        each = kind(layer, torch.float32)(torch.eye(96))  # a row for each input: its weights, and the bias
        off = (each - layer(torch.eye(96))).abs()
    weight = layer.weight.data
    spread = float(weight.max() - weight.min())
    assert 0 < float(off.max()) <= 1.02 * spread / steps / 2


@pytest.mark.parametrize("kind", ["int4", "int8"])
def test_a_quantised_model_answers_and_its_rows_do_not_notice_each_other(kind: Quantize) -> None:
    engine = Transformers(Model("random", architecture=SHAPE), dtype="bfloat16", quantize=kind).open()
    facts = engine.describe()
    assert (facts["quantize"], facts["deterministic"], facts["forward"]) == (kind, True, "lean")

    async def answers(*texts: str) -> list[tuple[int, ...]]:
        how = Schedule(Sampling(max_tokens=12))
        requests = [Request(Prompt((user(text),)), how, seed=len(text)) for text in texts]
        return [one.token_ids for one in await asyncio.gather(*(complete(engine, one) for one in requests))]

    alone = asyncio.run(answers("hello"))
    together = asyncio.run(answers("one", "hello", "three and four"))
    engine.close()
    assert together[1:2] == alone


def test_it_takes_less_memory_and_the_record_says_how_much() -> None:
    def size(kind: Quantize | None) -> int:
        return int(load(Model("random", architecture=SHAPE), "cpu", "float32", None, kind).facts["weight_bytes"])

    quantised = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 256)  # both layers' linear weights
    assert size(None) - size("int4") == quantised * 4 - quantised // 2 - quantised // 32 * 8
    assert size(None) > size("int8") > size("int4")


def test_a_model_without_layers_of_that_kind_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        quantise(tiny.build("GPT2"), "int4", torch.float32)
    assert str(caught.value) == (
        "resources.engine.quantize: none of GPT2LMHeadModel's layers can be int4. Set it to null."
    )


def test_another_device_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        quantise(tiny.build("Llama").to("meta"), "int8", torch.float32)
    assert str(caught.value) == (
        "resources.engine.quantize: int8 runs on the CPU only, and this is meta. Set device=cpu, or null."
    )
