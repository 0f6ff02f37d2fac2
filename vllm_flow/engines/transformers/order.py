"""Order: the most probable tokens by (logit descending, id ascending), as many as are asked for.

A logit and its id make one whole number, so no two are equal, and every way of sorting gives the same order. On the CPU
it is NumPy's, which takes a tenth of the time of PyTorch's stable sort; and of a vocabulary only those tokens are put
in order that are as probable as the last one asked for, which a look at the logits alone finds.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 1 << 17
ID_BITS = 32
FEW = 16
"""Up to a sixteenth of a vocabulary it pays to find the most probable first."""
STRIDE = 16
SURE = 64
"""The number at this rank of a sample is reached by 1/8 more or less than expected: half as many again are enough."""
LAST = torch.iinfo(torch.int64).max


def few_rows(table: Tensor) -> tuple[Tensor, ...]:
    """So many rows at a time that what is computed of their vocabulary stays in the processor's cache."""
    return torch.split(table, _at_once(table))


def _at_once(table: Tensor) -> int:
    return max(2, BLOCK // table.shape[-1])


def in_order(logits: Tensor, width: int) -> Tensor:
    """Ids of each row's first `width` tokens, int64 [rows, width]. logits: [rows, vocab], without NaN."""
    logits = logits.float()
    if logits.device.type == "cpu" and width * FEW <= logits.shape[-1]:
        places = np.sort(_as_probable(logits, width), axis=-1)[:, :width]
        return torch.from_numpy(places & ((1 << ID_BITS) - 1))
    ids = torch.arange(logits.shape[-1], device=logits.device)
    return torch.cat([_first(_places(block, ids), width) for block in few_rows(logits)])


def _places(logits: Tensor, ids: Tensor) -> Tensor:
    """A number for each token, int64: the smaller, the earlier it comes; its lower bits are the id."""
    bits = (logits + 0.0).view(torch.int32)  # + 0.0: -0.0 and 0.0 are one number
    # Of negative floats the whole numbers fall as the floats rise; then all turned round, as the largest comes first.
    falling = bits.bitwise_xor_((bits >> 31).bitwise_and_(0x7FFFFFFF)).bitwise_not_()
    return falling.long().bitwise_left_shift_(ID_BITS).bitwise_or_(ids)


def _first(places: Tensor, width: int) -> Tensor:
    if places.device.type != "cpu":
        first = places.topk(width, largest=False).values
    else:
        numbers = places.numpy()
        if width < numbers.shape[-1]:
            numbers = np.partition(numbers, width - 1, axis=-1)[:, :width]
        first = torch.from_numpy(np.sort(numbers, axis=-1))
    return first & ((1 << ID_BITS) - 1)


def _as_probable(logits: Tensor, width: int) -> Any:
    """The places of each row's first `width` tokens, and of some that come after them, in no order.

    int64 [rows, as many as most rows have], filled up with `LAST`.
    """
    found, counts = list[Any](), list[Any]()
    for start, block in zip(itertools.count(0, _at_once(logits)), few_rows(logits), strict=False):
        where, several = _where_first(block.numpy(), width)
        found.append(where + start * logits.shape[-1])
        counts.append(several)
    where, several = np.concatenate(found), np.concatenate(counts)
    ids = where - np.repeat(np.arange(len(several)) * logits.shape[-1], several)
    their_logits = logits.numpy().reshape(-1).take(where)
    table = np.full((len(several), several.max()), LAST)
    # Row after row, as they were found.
    table[np.arange(several.max()) < several[:, None]] = _places(torch.from_numpy(their_logits), torch.from_numpy(ids))
    return table


def _where_first(logits: Any, width: int) -> tuple[Any, Any]:
    """Where, in the rows behind each other, all are that reach some number that at least `width` of each row reach; and
    how many of each row do. Both int64.

    A sixteenth of them tells of which number half as many again are likely to reach it.
    """
    sample, rank = logits[:, ::STRIDE], (width + width // 2) // STRIDE
    if SURE <= rank <= sample.shape[-1]:
        where, counts = _reaching(logits, np.partition(sample, -rank, axis=-1)[:, -rank, None])
        if (counts >= width).all():
            return where, counts
    return _reaching(logits, np.partition(logits, -width, axis=-1)[:, -width, None])


def _reaching(logits: Any, least: Any) -> tuple[Any, Any]:
    where = np.flatnonzero(logits >= least)  # what it finds is sorted, so that nothing has to be counted again
    return where, np.diff(np.searchsorted(where, np.arange(len(logits) + 1) * logits.shape[-1]))
