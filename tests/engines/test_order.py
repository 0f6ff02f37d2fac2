"""Order: that of a stable sort, whatever a sample of the logits says of the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vllm_flow.engines.transformers.order import STRIDE, in_order


def drawn(rows: int, vocab: int) -> Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(vocab))


def tied(rows: int, vocab: int) -> Tensor:
    return (2 * drawn(rows, vocab)).round()


def all_equal(rows: int, vocab: int) -> Tensor:
    table = torch.zeros(rows, vocab)
    table[:, ::2] = -0.0
    return table


def banned(rows: int, vocab: int) -> Tensor:
    return drawn(rows, vocab).masked_fill(drawn(rows, vocab + 1)[:, 1:] > -0.5, -torch.inf)


def all_high_ones_in_the_sample(rows: int, vocab: int) -> Tensor:
    table = drawn(rows, vocab)
    table[:, ::STRIDE] += 100
    return table


def no_high_ones_in_the_sample(rows: int, vocab: int) -> Tensor:
    return -all_high_ones_in_the_sample(rows, vocab)


KINDS = (drawn, tied, all_equal, banned, all_high_ones_in_the_sample, no_high_ones_in_the_sample)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("rows", "vocab", "width"),
    [(1, 50, 7), (3, 50, 49), (4, 300, 300), (5, 20_000, 100), (5, 20_000, 1024), (7, 49_152, 1024), (2, 49_152, 8192)],
)
def test_it_is_the_order_of_a_stable_sort(
    kind: Callable[[int, int], Tensor], rows: int, vocab: int, width: int
) -> None:
    table = kind(rows, vocab)
    expected = table.sort(dim=-1, descending=True, stable=True).indices[:, :width]
    assert torch.equal(in_order(table, width), expected)
