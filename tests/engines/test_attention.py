"""Attention has two ways, PyTorch's fused kernel and products written out: both give a model's own logits."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from vllm_flow.engines.transformers import attention
from vllm_flow.engines.transformers.attention import Look
from vllm_flow.engines.transformers.fitting import fitted
from vllm_flow.engines.transformers.network import Network, Span

PROMPT, ANSWER = 70, 12
"""The prompt has two pieces, of which the second ends in the middle; windows are shorter than it."""


@pytest.fixture(params=[True, False], ids=["fused", "written out"])
def is_fused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(attention, "_is_fused", lambda look, _: request.param and look.cap is None)
    return bool(request.param)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_prompts_and_answers_beside_others_have_the_models_own_logits(
    family: str, is_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.build(family)
    ids = torch.arange(PROMPT + ANSWER) * 7 % 200 + 40
    with torch.inference_mode():
        wanted = model(ids[None]).logits[0]
        network = fitted(model).network
        assert isinstance(network, Network)
        calls: list[int] = []
        kernel = attention.scaled_dot_product_attention
        monkeypatch.setattr(
            attention, "scaled_dot_product_attention", lambda *given, **more: calls.append(1) or kernel(*given, **more)
        )
        watched, other = network.sequence(PROMPT), network.sequence(5)
        found = [network.read([Span(watched, ids[:PROMPT].tolist()), Span(other, [50, 60, 70, 80, 90])])[0]]
        network.begin_decoding(watched)
        network.begin_decoding(other)
        for token_id in ids[PROMPT:].tolist():
            found.append(network.read([Span(watched, [token_id]), Span(other, [99])])[0])
    network.close()
    assert bool(calls) == (is_fused and family != "Gemma2")  # whose scores have a cap
    assert torch.allclose(torch.stack(found), wanted[PROMPT - 1 :], rtol=1e-4, atol=1e-5 * float(wanted.abs().amax()))


@pytest.mark.parametrize(
    ("tiles", "dtype", "cap", "fused"),
    [
        (True, torch.bfloat16, None, True),
        (True, torch.bfloat16, 50.0, False),
        (True, torch.float32, None, False),
        (False, torch.bfloat16, None, False),
    ],
)
def test_on_a_cpu_the_fused_kernel_is_taken_where_that_multiplies_in_tiles(
    tiles: bool, dtype: torch.dtype, cap: float | None, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "multiplies_in_tiles", lambda: tiles)
    assert attention._is_fused(Look(0, None, 1.0, cap), torch.zeros(1, dtype=dtype)) is fused
