"""The sampler: from logits to the next token of each row, as `core/sampling.py` defines it.

All rows at once, each with its own parameters, and none looking at another: a row draws the same token alone and in
any batch. Nothing is cut that no parameter asks to cut. The draw is Gumbel-max: the argmax of scaled logits plus Gumbel
noise is a sample of their softmax (Gumbel 1954; Maddison, Tarlow, Minka 2014, arXiv:1411.0030).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers import noise

SMALLEST = torch.finfo(torch.float32).tiny


def penalises(sampling: Sampling) -> bool:
    """Whether `choose` needs the token counts."""
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0


def choose(
    logits: Tensor,
    samplings: Sequence[Sampling],
    seeds: Sequence[int],
    indices: Sequence[int],
    *,
    prompt_counts: Tensor | None = None,
    output_counts: Tensor | None = None,
) -> Tensor:
    """The next token id of each row: int64 [rows].

    logits: [rows, vocab], without NaN or +inf, at least one finite per row. seeds: 64 bits each. indices: which
    generated token of its answer each row draws, from 0. The counts, integers [rows, vocab], say how often each token
    stands in the prompt and in the output so far; they are needed when a row `penalises`.
    """
    if logits.device.type == "mps":  # has no float64
        logits = logits.cpu()
    logits = logits.float()
    if any(map(penalises, samplings)):
        if prompt_counts is None or output_counts is None:
            raise ValueError("a penalty is in force, so the token counts are needed")
        logits = _penalised(logits, samplings, prompt_counts.to(logits.device), output_counts.to(logits.device))
    chosen = logits.argmax(-1)  # the first of equals: ties go to the lowest id
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    for draw, rows in (
        (_draw_from_all, [row for row in drawn if not _cuts(samplings[row])]),
        (_draw_from_kept, [row for row in drawn if _cuts(samplings[row])]),
    ):
        if rows:
            which = torch.tensor(rows, device=logits.device)
            keys = [[noise.signed(noise.key(seeds[row], indices[row]))] for row in rows]
            of_rows = [samplings[row] for row in rows]
            chosen[which] = draw(logits[which], of_rows, torch.tensor(keys, device=logits.device))
    return chosen


def _cuts(sampling: Sampling) -> bool:
    return sampling.min_p > 0 or sampling.top_k is not None or sampling.top_p < 1


def _column(values: Sequence[float], logits: Tensor) -> Tensor:
    """One float32 per row, [rows, 1]."""
    return torch.tensor(values, dtype=torch.float32, device=logits.device)[:, None]


def _penalised(logits: Tensor, samplings: Sequence[Sampling], prompt: Tensor, output: Tensor) -> Tensor:
    repetition = _column([one.repetition_penalty for one in samplings], logits)
    weakened = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where((prompt > 0) | (output > 0), weakened, logits)
    presence = _column([one.presence_penalty for one in samplings], logits) * (output > 0)
    return logits - presence - _column([one.frequency_penalty for one in samplings], logits) * output


def _scaled(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Logits over temperature, shifted so that the largest is 0: no temperature, however small, makes an infinity."""
    temperature = _column([one.temperature for one in samplings], logits).clamp(min=SMALLEST)
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def _draw_from_all(logits: Tensor, samplings: Sequence[Sampling], keys: Tensor) -> Tensor:
    ids = torch.arange(logits.shape[-1], device=logits.device)[None]
    return (_scaled(logits, samplings) + noise.gumbel(keys, ids)).argmax(-1)


def _draw_from_kept(logits: Tensor, samplings: Sequence[Sampling], keys: Tensor) -> Tensor:
    # Sorted by the logits themselves: dividing could make two of them equal and hand the tie to the wrong token.
    order = torch.sort(logits, dim=-1, descending=True, stable=True).indices
    scaled = _scaled(logits, samplings).gather(-1, order)
    kept = _count_kept(scaled, samplings)
    width = int(kept.max())
    order, scaled = order[:, :width], scaled[:, :width]
    scores = scaled + noise.gumbel(keys, order)
    scores.masked_fill_(torch.arange(width, device=logits.device) >= kept, -torch.inf)
    return order.gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1)


def _count_kept(scaled: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """How many of each row's tokens the cuts leave, int64 [rows, 1]. scaled: [rows, vocab], descending from 0.

    Every cut keeps a beginning of the sorted row, so one number per row says it all.
    """
    vocab = scaled.shape[-1]
    min_p = _column([one.min_p for one in samplings], scaled)
    top_k = torch.tensor([[one.top_k or vocab] for one in samplings], device=scaled.device)
    keep = (scaled.exp() >= min_p) & (torch.arange(vocab, device=scaled.device) < top_k)
    # 1 keeps all, also when rounding lets the sum reach 1 before the last token.
    top_p = [one.top_p if one.top_p < 1 else torch.inf for one in samplings]
    if min(top_p) < 1:
        before = _sum_before(scaled.masked_fill(~keep, -torch.inf).softmax(-1).to(torch.float64))
        keep &= before < torch.tensor(top_p, dtype=torch.float64, device=scaled.device)[:, None]
    return keep.sum(-1, keepdim=True)


def _sum_before(shares: Tensor) -> Tensor:
    """For each position of a row the sum of those before it; float64 [rows, vocab]."""
    rows = shares.shape[0]
    if shares.is_cuda and rows == 1:  # a single row takes another kernel there, which rounds differently
        shares = shares.expand(2, -1).contiguous()
    return torch.nn.functional.pad(shares.cumsum(-1)[:rows, :-1], (1, 0))
