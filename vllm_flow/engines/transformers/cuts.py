"""Cuts: which tokens of a row can be drawn at all, in the order of `core/sampling.py`.

Top-nσ, epsilon, min-p, top-k and top-p keep a beginning of the tokens by (logit descending, id ascending), so only as
many are put in order as it takes to know where that ends. Typical and XTC then take away from it here and there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers.order import few_rows, in_order

SMALLEST = torch.finfo(torch.float32).tiny
FAINT = -87.0
"""Scaled logits below count as this in sums: their shares are denormal, take 14 times as long and add nothing to 1."""
WIDTHS = (1024, 8192, 20480)
"""How many of the most probable tokens are put in order first: a cut that falls among them needs no other."""


def cuts(sampling: Sampling) -> bool:
    """Whether any cut is in force."""
    return not _is_whole(sampling) or sampling.top_p < 1 or sampling.typical_p < 1 or sampling.xtc_probability > 0


@dataclass(frozen=True)
class Scaling:
    """Logits over temperature, shifted so that the largest is 0: no temperature, however small, makes an infinity.

    Of as many of them as are asked for: a table of all would be written and read again for the few that count.
    """

    peak: Tensor
    """The largest logit of each row, [rows, 1]."""
    temperature: Tensor
    """[rows, 1]"""

    @classmethod
    def of(cls, logits: Tensor, samplings: Sequence[Sampling]) -> Scaling:
        temperature = _column([one.temperature for one in samplings], logits).clamp(min=SMALLEST)
        return cls(logits.amax(-1, keepdim=True), temperature)

    def rows(self, which: Tensor | slice) -> Scaling:
        return Scaling(self.peak[which], self.temperature[which])

    def __call__(self, logits: Tensor) -> Tensor:
        """Of these rows' logits, or some of each row's."""
        return (logits - self.peak).div_(self.temperature)

    def blocks(self, logits: Tensor) -> Iterator[Tensor]:
        """Of all logits, few rows at a time."""
        start = 0
        for block in few_rows(logits):
            yield self.rows(slice(start, start + len(block)))(block)
            start += len(block)


def left_by_cuts(logits: Tensor, samplings: Sequence[Sampling]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of some rows at a time: which they are, int64 [some]; token ids in order, int64 [some, width]; and their scaled
    logits in that order, float32 [some, width], -inf where cut. The width is what the longest of them needs.

    logits: [rows, vocab], before temperature. XTC cuts whenever its probability is not 0. Rows whose cuts do not fall
    among the first `WIDTHS` tokens are looked at again, with more of them in order.
    """
    vocab, sigmas, scaling = logits.shape[-1], _reach(logits, samplings), Scaling.of(logits, samplings)
    rows, of_rows = torch.arange(len(samplings), device=logits.device), list(samplings)
    wholes = sums_of_shares(logits, scaling, samplings, sigmas)
    for width in (*(width for width in WIDTHS if width < vocab), vocab):
        # By the logits themselves: dividing could make two of them equal and hand the tie to the wrong token.
        order = in_order(logits, width)
        first = logits.gather(-1, order)
        near = None if sigmas is None else _near(scaling.peak, first, sigmas[rows])
        left = scaling(first)
        kept, settled = count_kept(left, of_rows, vocab, wholes[rows], near)
        left.masked_fill_(torch.arange(width, device=logits.device) >= kept, -torch.inf)
        if settled.any():
            widest = max(1, int(kept[settled].amax()))
            yield rows[settled], order[settled, :widest], _narrowed(left, of_rows)[settled, :widest]
        again = ~settled
        of_rows = [one for one, is_open in zip(of_rows, again.tolist(), strict=True) if is_open]
        if not of_rows:
            return
        rows, logits, scaling = rows[again], logits[again], scaling.rows(again)


def count_kept(
    first: Tensor, samplings: Sequence[Sampling], vocab: int, wholes: Tensor, near: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """How many tokens of each row's order top-nσ, epsilon, min-p, top-k and top-p leave, int64 [rows, 1]; and whether
    that is settled, bool [rows].

    first: logits in order, scaled, float32 [rows, width]. wholes: as `sums_of_shares` gives them. near: what top-nσ
    keeps of the order, bool [rows, width]. Each of them keeps a beginning of the order, so one number says it all; it
    is settled when it falls among the tokens that are in order.
    """
    width = first.shape[-1]
    places, everything = torch.arange(width, device=first.device), width == vocab
    top_k = _column([one.top_k or vocab for one in samplings], first, torch.int64)
    enough = first.exp() >= _least(samplings, wholes, first)
    enough = enough if near is None else enough & near
    # These and top-k first; without any of them all tokens are left, whatever is in order.
    uncut = _column([_is_whole(one) for one in samplings], first, torch.bool)
    left = torch.where(uncut, vocab, (enough & (places < top_k)).sum(-1, keepdim=True))
    known = uncut | (left < width) | ((left == top_k) & (left <= width)) | everything
    shares = first.double().exp().masked_fill_(places >= left, 0.0)
    total = torch.where(uncut, wholes, row_sums(shares))
    # 1 keeps all, also when rounding lets the sum reach 1 before the last token.
    top_p = _column([one.top_p if one.top_p < 1 else torch.inf for one in samplings], first, torch.float64)
    kept = ((_sum_before(shares) < top_p * total) & (places < left)).sum(-1, keepdim=True)
    settled = known & ((kept < width) | ((kept == left) & (left <= width)) | everything)
    return kept, settled.squeeze(-1)


def _is_whole(sampling: Sampling) -> bool:
    """Whether all tokens are left when top-p comes."""
    least = sampling.min_p or sampling.epsilon_cutoff
    return least == 0 and sampling.top_k is None and sampling.top_n_sigma is None


def _least(samplings: Sequence[Sampling], wholes: Tensor, like: Tensor) -> Tensor:
    """Which share of the most probable token's probability min-p and epsilon leave, float32 [rows, 1]."""
    least = _column([one.min_p for one in samplings], like)
    if all(one.epsilon_cutoff == 0 for one in samplings):
        return least
    epsilons = _column([one.epsilon_cutoff for one in samplings], like, torch.float64)
    return torch.maximum(least, (epsilons * wholes).clamp(max=1.0).float())


def sums_of_shares(logits: Tensor, scaling: Scaling, samplings: Sequence[Sampling], reach: Tensor | None) -> Tensor:
    """The sum of what top-nσ leaves, for epsilon, and for top-p where nothing else comes before; float64 [rows, 1].

    1 where no row asks. reach: see `_reach`. Shares in float32 are made in half the time; what feels the rounding is
    their sum, which is in float64.
    """
    if not any(one.epsilon_cutoff > 0 or (one.top_p < 1 and _is_whole(one)) for one in samplings):
        return torch.ones((len(logits), 1), dtype=torch.float64, device=logits.device)
    # Each is summed before the next is made.
    blocks = (block.clamp_(min=FAINT).exp_() for block in scaling.blocks(logits))
    if reach is None:
        return torch.cat([row_sums(block) for block in blocks])
    near = few_rows(_near(scaling.peak, logits, reach))
    return torch.cat([row_sums(block.where(one, 0.0)) for block, one in zip(blocks, near, strict=True)])


def _reach(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor | None:
    """How far below the largest logit top-nσ keeps, float64 [rows, 1]; None where no row asks."""
    if all(one.top_n_sigma is None for one in samplings):
        return None
    sigmas = torch.cat([_deviation(block.double()) for block in few_rows(logits)])
    asked = _column([one.top_n_sigma or torch.inf for one in samplings], logits, torch.float64)
    return torch.where(asked.isinf(), asked, sigmas * asked)


def _deviation(logits: Tensor) -> Tensor:
    """The standard deviation of each row's finite logits, as of a whole population; float64 [rows, 1]."""
    finite = logits.isfinite()
    count = finite.sum(-1, keepdim=True)
    mean = row_sums(logits.where(finite, 0.0)) / count
    return (row_sums((logits - mean).square().where(finite, 0.0)) / count).sqrt()


def _near(peak: Tensor, logits: Tensor, reach: Tensor) -> Tensor:
    """Which logits are within reach of the largest of their row."""
    return peak.double() - logits.double() <= reach


def _narrowed(left: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """What typical and then XTC leave. left: scaled logits in order, float32 [rows, width], -inf where cut."""
    for force, cut in (
        ([one.typical_p if one.typical_p < 1 else None for one in samplings], _typical),
        ([one.xtc_threshold if one.xtc_probability > 0 else None for one in samplings], _without_top),
    ):
        rows = [row for row, value in enumerate(force) if value is not None]
        if rows:
            left[rows] = cut(left[rows], _column([value for value in force if value is not None], left, torch.float64))
    return left


def _typical(left: Tensor, mass: Tensor) -> Tensor:
    shares = left.double().exp()
    total = row_sums(shares)
    shares, surprise = shares / total, total.log() - left.double()
    expected = row_sums((shares * surprise).where(shares > 0, 0.0))
    places = (surprise - expected).abs().sort(stable=True).indices
    kept = _sum_before(shares.gather(-1, places)) < mass
    return left.masked_fill(~torch.zeros_like(kept).scatter(-1, places, kept), -torch.inf)


def _without_top(left: Tensor, threshold: Tensor) -> Tensor:
    shares = left.double().exp()
    high = (shares >= threshold * row_sums(shares)) & (left > -torch.inf)
    from_here_on = high.flip(-1).cumsum(-1).flip(-1)
    return left.masked_fill(high & (from_here_on > 1), -torch.inf)


def _column(values: Sequence[float], like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """One number per row, [rows, 1]."""
    return torch.tensor(values, dtype=dtype, device=like.device)[:, None]


def row_sums(shares: Tensor) -> Tensor:
    """float64 [rows, 1]. A single row's sum would be shared out among threads, which rounds differently."""
    rows = len(shares)
    return (shares if rows > 1 else shares.expand(2, -1).contiguous()).sum(-1, keepdim=True, dtype=torch.float64)[:rows]


def _sum_before(shares: Tensor) -> Tensor:
    """For each position of a row the sum of those before it; float64 [rows, tokens]."""
    rows = shares.shape[0]
    if shares.is_cuda and rows == 1:  # a single row takes another kernel there, which rounds differently
        shares = shares.expand(2, -1).contiguous()
    return torch.nn.functional.pad(shares.cumsum(-1)[:rows, :-1], (1, 0))
