"""Order: the most probable tokens by (logit descending, id ascending), as many as are asked for.

A logit and its id make one whole number, so no two are equal, and every way of sorting gives the same order. On the CPU
it is NumPy's, which takes a tenth of the time of PyTorch's stable sort; and of a vocabulary only those tokens are put
in order that are as probable as the last one asked for, which a look at the logits alone finds.
"""

from __future__ import annotations

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
    return torch.split(table, max(2, BLOCK // table.shape[-1]))


def in_order(logits: Tensor, width: int) -> Tensor:
    """Ids of each row's first `width` tokens, int64 [rows, width]. logits: [rows, vocab], without NaN."""
    logits = logits.float()
    if logits.device.type == "cpu" and width * FEW <= logits.shape[-1]:
        places = np.sort(_as_probable(logits, width).numpy(), axis=-1)[:, :width]
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


def _as_probable(logits: Tensor, width: int) -> Tensor:
    """The places of each row's first `width` tokens, and of some that come after them, in no order.

    int64 [rows, as many as most rows have], filled up with `LAST`.
    """
    found, blocks = list[Any](), few_rows(logits)
    for number, block in enumerate(blocks):
        found.append(np.flatnonzero(_contains_first(block.numpy(), width)) + number * blocks[0].numel())
    where = np.concatenate(found)
    rows, ids = map(torch.from_numpy, np.divmod(where, logits.shape[-1]))
    places = _places(logits.reshape(-1)[torch.from_numpy(where)], ids)
    counts = rows.bincount(minlength=len(logits))
    table = places.new_full((len(logits), int(counts.max())), LAST)
    table[rows, torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]] = places
    return table


def _contains_first(logits: Any, width: int) -> Any:
    """Which of each row are at least as large as some number that at least `width` of them reach; bool, as the logits.

    A sixteenth of them tells of which number half as many again are likely to reach it.
    """
    sample, rank = logits[:, ::STRIDE], (width + width // 2) // STRIDE
    if SURE <= rank <= sample.shape[-1]:
        reached = logits >= np.partition(sample, -rank, axis=-1)[:, -rank, None]
        if (np.count_nonzero(reached, axis=-1) >= width).all():
            return reached
    return logits >= np.partition(logits, -width, axis=-1)[:, -width, None]
