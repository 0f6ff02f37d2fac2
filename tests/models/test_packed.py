"""Packed layers: several that read the same rows are one product, and give what each of them gave."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from vllm_flow.models.packed import PackedLinear, PackedPart, pack, unpack

ROWS = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """What `pack` looks at of a model."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, biases: Sequence[bool]) -> None:
        super().__init__()
        torch.manual_seed(1)
        sizes = zip(("q_proj", "k_proj", "v_proj"), (64, 32, 32), biases, strict=True)
        for name, made, bias in sizes:
            setattr(self, name, nn.Linear(64, made, bias=bias))

    def made(self) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [layer(ROWS) for layer in self.children()]


@pytest.mark.parametrize("bias", [False, True])
def test_query_key_and_value_are_parts_of_one_product_and_what_each_was(bias: bool) -> None:
    attention = Attention([bias] * 3)
    wanted = attention.made()
    replaced = pack(attention, together=True)
    parts = list(attention.children())
    assert all(isinstance(one, PackedPart) for one in parts)
    assert len({id(one.whole) for one in parts}) == 1
    for found, one in zip(attention.made(), wanted, strict=True):
        torch.testing.assert_close(found, one)
    unpack(replaced)
    for found, one in zip(attention.made(), wanted, strict=True):
        assert torch.equal(found, one)


@pytest.mark.parametrize(("biases", "together"), [([True, False, True], True), ([True] * 3, False)])
def test_layers_stay_apart_that_are_not_alike_or_not_taken_at_once(biases: list[bool], together: bool) -> None:
    attention = Attention(biases)
    wanted = attention.made()
    pack(attention, together=together)
    assert all(isinstance(one, PackedLinear) for one in attention.children())
    for found, one in zip(attention.made(), wanted, strict=True):
        torch.testing.assert_close(found, one)
