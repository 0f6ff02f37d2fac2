"""What the answers' shapes leave of the logits, of all rows at once.

The rest is left out before temperature and cuts: these then choose among what is allowed, by what the model thinks of
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vllm_flow.engines.shaping import Shaping


def shaped(logits: Tensor, shapings: Sequence[Shaping | None]) -> Tensor:
    """The logits with -inf for what a row's shape does not allow, [rows, vocab]; those given stay as they are."""
    rows = [row for row, one in enumerate(shapings) if one is not None]
    if not rows:
        return logits
    bits = np.frombuffer(b"".join(one.allowed for one in shapings if one is not None), np.uint8)
    # By numpy, which spreads bits some fifteen times faster than operations of torch that come to the same.
    spread = np.unpackbits(~bits.reshape(len(rows), -1), axis=1, count=logits.shape[-1], bitorder="little")
    banned = torch.from_numpy(spread.view(np.bool_)).to(logits.device)
    if len(rows) == len(logits):
        return logits.masked_fill(banned, -torch.inf)
    left, which = logits.clone(), torch.tensor(rows, device=logits.device)
    left[which] = logits[which].masked_fill(banned, -torch.inf)
    return left
