"""The sampler: from logits to the next token of each row, as `core/sampling.py` defines it.

All rows at once, each with its own parameters, and none looking at another: a row draws the same token alone and in
any batch. Nothing is cut that no parameter asks to cut. The draw is Gumbel-max: the argmax of scaled logits plus Gumbel
noise is a sample of their softmax (Gumbel 1954; Maddison, Tarlow, Minka 2014, arXiv:1411.0030).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers import noise
from vllm_flow.engines.transformers.cuts import Scaling, cuts, left_by_cuts
from vllm_flow.engines.transformers.order import few_rows


def choose(logits: Tensor, samplings: Sequence[Sampling], seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
    """The next token id of each row: int64 [rows].

    logits: [rows, vocab], penalised, without NaN or +inf; a row without a finite one gets just any id. seeds: 64 bits
    each. indices: which generated token of its answer each row draws, from 0.
    """
    logits = _drawable(logits)
    tossed = [_tossed(*row) for row in zip(samplings, seeds, indices, strict=True)]
    greedy = any(one.temperature == 0 for one in samplings)
    # The first of equals: ties go to the lowest id.
    chosen = logits.argmax(-1) if greedy else torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    for draw, rows in zip((_draw_from_all, _draw_from_left), _split(tossed), strict=True):
        if rows:
            which: Tensor | slice = slice(None)  # mostly all of them, and a copy of the table takes as long as a draw
            if len(rows) < len(logits):
                which = torch.tensor(rows, device=logits.device)
            keys = [[noise.signed(noise.key(seeds[row], indices[row]))] for row in rows]
            of_rows = [tossed[row] for row in rows]
            chosen[which] = draw(logits[which], of_rows, torch.tensor(keys, device=logits.device))
    return chosen


def processed(logits: Tensor, samplings: Sequence[Sampling], seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
    """Logits of the distribution that `choose` draws from, float32 [rows, vocab]: -inf for what it never draws.

    Their softmax is that distribution; of a greedy row it is one token. Arguments as for `choose`.
    """
    logits = _drawable(logits)
    found = torch.full_like(logits, -torch.inf).scatter_(-1, logits.argmax(-1, keepdim=True), 0.0)
    tossed = [_tossed(*row) for row in zip(samplings, seeds, indices, strict=True)]
    for rows in _split(tossed):
        if rows:
            which, of_rows = torch.tensor(rows, device=logits.device), [tossed[row] for row in rows]
            if not cuts(of_rows[0]):
                found[which] = Scaling.of(logits[which], of_rows)(logits[which])
                continue
            for some, order, left in left_by_cuts(logits[which], of_rows):
                cut = torch.full((len(some), logits.shape[-1]), -torch.inf, device=logits.device)
                found[which[some]] = cut.scatter_(-1, order, left)
    return found


def _drawable(logits: Tensor) -> Tensor:
    return (logits.cpu() if logits.device.type == "mps" else logits).float()  # mps has no float64


def _split(samplings: Sequence[Sampling]) -> tuple[list[int], list[int]]:
    """The rows that are drawn from all of their tokens, and those that are cut; not those that are greedy."""
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    return [row for row in drawn if not cuts(samplings[row])], [row for row in drawn if cuts(samplings[row])]


def _tossed(sampling: Sampling, seed: int, index: int) -> Sampling:
    """XTC's coin has fallen: at this token its probability is 0 or 1."""
    if not 0 < sampling.xtc_probability < 1:
        return sampling
    return dataclasses.replace(sampling, xtc_probability=float(noise.coin(seed, index) < sampling.xtc_probability))


def _draw_from_all(logits: Tensor, samplings: Sequence[Sampling], keys: Tensor) -> Tensor:
    ids = torch.arange(logits.shape[-1], device=logits.device)[None]
    keys_of = torch.split(keys, [len(block) for block in few_rows(logits)])
    scaled = Scaling.of(logits, samplings).blocks(logits)
    return torch.cat(
        [(block + noise.gumbel(some, ids)).argmax(-1) for block, some in zip(scaled, keys_of, strict=True)]
    )


def _draw_from_left(logits: Tensor, samplings: Sequence[Sampling], keys: Tensor) -> Tensor:
    chosen = torch.empty(len(samplings), dtype=torch.int64, device=logits.device)
    for rows, order, left in left_by_cuts(logits, samplings):
        chosen[rows] = _drawn(order, left, keys[rows])
    return chosen


def _drawn(order: Tensor, left: Tensor, keys: Tensor) -> Tensor:
    """One id of `order` for each key, int64 [keys]; `left` are their scaled logits. Both [keys or 1, width]."""
    scores = left + noise.gumbel(keys, order)
    return order.expand(len(keys), -1).gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1)
