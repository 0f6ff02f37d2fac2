"""Likelihoods: how probable tokens are under some logits, and how undecided the model was.

Computed in float64 and rounded to float32 in the end: in which order a row is summed depends on how many rows there
are, and what that changes is far below what the rounding keeps. So a token's numbers do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vllm_flow.core.likelihoods import Alternative, TokenLikelihood
from vllm_flow.engines.transformers.cuts import row_sums
from vllm_flow.engines.transformers.order import few_rows, in_order

BLOCK = 1 << 20
"""Numbers that are looked at in one go, so that memory does not grow with the rows."""
LOWEST = -1e4
"""In place of -inf beside a probability of 0: their product is 0 and not NaN."""


def weighed(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability of each row's tokens, float32 [rows, tokens], and its entropy in nats, float32 [rows].

    logits: [rows, vocab], -inf for a probability of 0, at least one finite per row. ids: int64 [rows, tokens].
    """
    if logits.device.type == "mps":  # has no float64
        logits, ids = logits.cpu(), ids.cpu()
    rows = max(2, BLOCK // logits.shape[-1])
    found, entropies = [], []
    for some, of_some in zip(torch.split(logits, rows), torch.split(ids.to(logits.device), rows), strict=True):
        logs = some.double().log_softmax(-1)
        found.append(logs.gather(-1, of_some).float())
        entropies.append((logs.exp() * logs.clamp_(min=LOWEST).neg_()).sum(-1).float())
    return torch.cat(found), torch.cat(entropies)


def entropies(logits: Tensor) -> Tensor:
    """The entropy of each row in nats, float32 [rows], within a millionth of what `weighed` gives and in a third of its
    time: -log p of the most probable token, less the expected distance of a logit from the largest.

    logits: float32 [rows, vocab], at least one finite per row.
    """
    found = []
    for some in few_rows(logits):
        below = some - some.amax(-1, keepdim=True)
        shares = below.softmax(-1)
        surest = shares.amax(-1, keepdim=True).double().log_().neg_()
        expected = row_sums(shares.mul_(below.clamp_(min=LOWEST)))
        found.append((surest - expected).squeeze(-1).float())
    return torch.cat(found).clamp_(min=0.0)


def likelihoods(
    logits: Tensor, processed: Tensor, chosen: Tensor, counts: Sequence[int], spell: Callable[[int], str]
) -> list[tuple[float, TokenLikelihood]]:
    """Each row's chosen token: its raw log-probability and the rest, with so many alternatives as its count says.

    logits, processed: [rows, vocab], before and after sampling parameters. chosen: int64 [rows]. spell: an id's text.
    """
    ids = torch.cat([chosen[:, None].to(logits.device), in_order(logits, min(max(counts), logits.shape[-1]))], 1)
    raw, raw_entropies = weighed(logits, ids)
    drawn, drawn_entropies = weighed(processed, ids)
    found = []
    for row, count in enumerate(counts):
        of_row = zip(ids[row, 1 : count + 1].tolist(), raw[row, 1:].tolist(), drawn[row, 1:].tolist(), strict=False)
        listed = tuple(Alternative(one, spell(one), *logs) for one, *logs in of_row if logs[0] > -torch.inf)
        numbers = (float(drawn[row, 0]), float(raw_entropies[row]), float(drawn_entropies[row]))
        found.append((float(raw[row, 0]), TokenLikelihood(*numbers, listed)))
    return found
