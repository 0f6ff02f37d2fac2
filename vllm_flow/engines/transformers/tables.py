"""Tables of logits, put together without a copy where they lie side by side: one of 128 rows has 25 MB."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def together(rows: Sequence[Tensor]) -> Tensor:
    """The rows as one table, [rows, width]. Those that a table was taken apart into are that table again."""
    first = rows[0]
    if _side_by_side(rows):
        return first.as_strided((len(rows), len(first)), (len(first), 1))
    return torch.stack(list(rows))


def _side_by_side(rows: Sequence[Tensor]) -> bool:
    """Whether each begins where the one before it ends, in the same memory."""
    first = rows[0]
    size, storage = len(first) * first.element_size(), first.untyped_storage().data_ptr()
    return all(
        one.is_contiguous()
        and one.untyped_storage().data_ptr() == storage
        and one.data_ptr() == first.data_ptr() + place * size
        and one.dtype == first.dtype
        and len(one) == len(first)
        for place, one in enumerate(rows)
    )
