"""Ten million draws from all of a large vocabulary, in half an hour instead of a day.

A draw is the argmax of scaled logit plus Gumbel noise. Of the noise -log(-log u) no more is needed at first than that it
is at most -log(1 - u): with p the share of a token beside that of the most probable one, only a token whose p / (1 - u) is
as large as e to the best score can have been drawn. What compiled code does with every token is to make its hash, by the
engine's own function, and that ratio, and to keep the largest of each group of tokens. The best groups are then drawn
from as the engine does, and more of them until no other can hold the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from vllm_flow.engines.transformers import noise
from vllm_flow.engines.transformers.sampler import _drawn

GROUP = 100
FEW = 500
"""A distribution of so many tokens or fewer is drawn from as it is."""
ROUNDING = 1e-3
"""More than what float32 can be wrong by."""


def drawn(left: Tensor, keys: Tensor) -> Iterator[Tensor]:
    """For each distribution in turn the token id that it draws with each key, int64 [keys].

    left: scaled logits, float32 [distributions, vocabulary], -inf where cut; the vocabulary is made of whole groups. keys: int64 [keys, 1], as `noise.hashes` takes them.
    """
    many = (left > -torch.inf).sum(-1) > FEW
    most = iter(_compiled()(keys, torch.arange(left.shape[-1])[None], left[many].exp()))
    for of_one, is_long in zip(left, many.tolist(), strict=True):
        if is_long:
            yield _from_best_groups(of_one, keys, next(most))
            continue
        ids = (of_one > -torch.inf).nonzero()[:, 0]
        yield _drawn(ids[None], of_one[ids][None], keys)


def _from_best_groups(left: Tensor, keys: Tensor, bounds: Tensor) -> Tensor:
    ids, open_rows = torch.empty(len(keys), dtype=torch.int64), torch.arange(len(keys))
    for count in (2, 8, 64, bounds.shape[-1]):
        ids[open_rows], settled = _from_groups(left, keys[open_rows], bounds[open_rows], count)
        open_rows = open_rows[~settled]
        if not len(open_rows):
            break
    return ids


def _from_groups(left: Tensor, keys: Tensor, bounds: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best token of the best groups of each row, and whether none of the other groups can have a better one."""
    best = bounds.topk(min(count + 1, bounds.shape[-1]))
    groups = best.indices[:, :count].sort().values  # among equals the lowest id is drawn
    ids = (groups[..., None] * GROUP + torch.arange(GROUP)).flatten(1)
    found = _drawn(ids, left[ids], keys)
    if count == bounds.shape[-1]:
        return found, torch.ones(len(keys), dtype=torch.bool)
    score = left[found] + noise.gumbel(keys, found[:, None])[:, 0]
    return found, best.values[:, count] < score.exp() * (1 - ROUNDING)


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor], list[Tensor]]:
    return torch.compile(_largest, dynamic=False)


def _largest(keys: Tensor, ids: Tensor, shares: Tensor) -> list[Tensor]:
    """For each distribution the largest p / (1 - u) of each group, float32 [keys, groups]; never too small but for rounding."""
    part = noise.hashes(keys, ids).to(torch.float32) * -(2.0**-64)
    rest = part + (part <= 0).to(torch.float32)  # 1 - hash / 2^64, to float32's precision also where it is small
    # `noise.uniforms` leaves out the lower bits: half of what they count is the most that this can be too large by.
    raised = 1 / (rest - 2.0**-53).clamp(min=2.0**-54)
    return [(one * raised).view(len(keys), -1, GROUP).amax(-1) for one in shares]
