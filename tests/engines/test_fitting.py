"""Which way a model runs: tried on models of many families, and on some that do other than they say."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests import tiny
from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.fitting import fitted, least_tokens
from vllm_flow.engines.transformers.lean import normed
from vllm_flow.engines.transformers.network import Network, Span


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_family_that_batches_is_bitwise_the_same_in_company(family: str) -> None:
    fit = fitted(tiny.build(family))
    assert fit.why_plain == ""
    assert len(fit.packed) > 0
    assert isinstance(fit.network, Network)
    assert least_tokens(fit.network) == 4
    fit.network.close()


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("Bloom", "its attention is its own"),
        ("Mamba", "AttributeError: 'PackedLinear' object has no attribute 'weight'"),
    ],
)
def test_a_family_that_does_not_batch_says_why_and_keeps_its_own_layers(family: str, why: str) -> None:
    model = tiny.build(family)
    before = [type(module) for module in model.modules()]
    assert fitted(model).why_plain == why
    assert [type(module) for module in model.modules()] == before


def test_a_model_that_would_forget_what_it_has_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As models did whose cache had another name: their answers were wrong, and nothing said so."""
    monkeypatch.setattr("vllm_flow.engines.transformers.plain.CACHES", ("unheard_of",))
    with pytest.raises(ModelError) as caught:
        fitted(tiny.build("Mamba"))
    assert str(caught.value) == (
        "model: MambaForCausalLM does not go on from a cache of transformers' usual kind. Choose another model, or "
        "another version of transformers."
    )


def test_positions_that_depend_on_the_company_are_not_batched() -> None:
    model = tiny.build("Llama")
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    assert fitted(model).why_plain == ("its positions are of the kind 'dynamic', which depend on the longest sequence")


def test_attention_that_does_more_than_it_says_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_flow.engines.transformers import attention

    real = attention._attention
    monkeypatch.setattr(attention, "_attention", lambda *given: real(*given) * 1.05)
    assert fitted(tiny.build("Qwen2")).why_plain == "its attention does more than its interface says"


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_llama_and_its_kin_take_the_lean_way_with_their_own_logits(family: str) -> None:
    model = tiny.build(family)
    ids = torch.arange(40, 60)
    with torch.inference_mode():
        wanted = model(ids[None]).logits[0, -1]
        network = fitted(model).network
        assert isinstance(network, Network)
        assert (network.lean is not None) == (family in {"Llama", "Qwen2", "Qwen3", "Mistral"})
        found = network.read([Span(network.sequence(20), ids.tolist())])[0]
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().amax()))


def test_a_lean_way_that_gives_other_logits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_flow.engines.transformers import lean

    monkeypatch.setattr(lean, "silu", lambda rows: rows)
    monkeypatch.setattr(lean, "PackedLinear", type(None))
    fit = fitted(tiny.build("Qwen2"))
    assert isinstance(fit.network, Network)
    assert fit.network.lean is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_lean_norm_is_that_of_transformers_even_where_one_number_is_huge(dtype: torch.dtype) -> None:
    norm = LlamaRMSNorm(64, eps=1e-5).to(dtype)
    rows = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    rows[1, 7] = 3000.0
    rows[2] *= 1e-4
    rows[3] = 0.0
    with torch.inference_mode():
        norm.weight.copy_(torch.linspace(-2, 2, 64))
        found, wanted = normed(norm, rows.to(dtype)), norm(rows.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted)
