"""The sampler: from logits to the next token of each row, as `core/sampling.py` defines it.

All rows at once, each with its own parameters, and none looking at another: a row draws the same token alone and in
any batch. Nothing is cut that no parameter asks to cut. The draw is Gumbel-max: the argmax of scaled logits plus Gumbel
noise is a sample of their softmax (Gumbel 1954; Maddison, Tarlow, Minka 2014, arXiv:1411.0030).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers import noise

SMALLEST = torch.finfo(torch.float32).tiny
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
WIDTHS = (256, 4096)
"""How many of the most probable tokens are put in order first: a cut that falls among them needs no other."""

BLOCK = 1 << 17


class Seen:
    """Which tokens stand in the prompt or the output of one answer, and how often in the output."""

    def __init__(self, prompt: Sequence[int], max_tokens: int) -> None:
        self._places = {token_id: place for place, token_id in enumerate(dict.fromkeys(prompt))}
        room = len(self._places) + max_tokens
        self._ids = torch.empty(room, dtype=torch.int64)
        self._ids[: len(self._places)] = torch.tensor(list(self._places), dtype=torch.int64)
        self._counts = torch.zeros(room)

    def add(self, token_id: int) -> None:
        """One more token of the output."""
        place = self._places.setdefault(token_id, len(self._places))
        self._ids[place] = token_id
        self._counts[place] += 1

    @property
    def ids(self) -> Tensor:
        """int64 [tokens], each once."""
        return self._ids[: len(self._places)]

    @property
    def counts(self) -> Tensor:
        """float32 [tokens]: how often each stands in the output."""
        return self._counts[: len(self._places)]


def penalises(sampling: Sampling) -> bool:
    """Whether `choose` needs to know what was seen."""
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0


def choose(
    logits: Tensor,
    samplings: Sequence[Sampling],
    seeds: Sequence[int],
    indices: Sequence[int],
    seen: Sequence[Seen | None] = (),
) -> Tensor:
    """The next token id of each row: int64 [rows].

    logits: [rows, vocab], without NaN or +inf, at least one finite per row. seeds: 64 bits each. indices: which
    generated token of its answer each row draws, from 0. seen: for each row that `penalises`.
    """
    logits = _adjusted(logits, samplings, seen)
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


def processed(logits: Tensor, samplings: Sequence[Sampling], seen: Sequence[Seen | None] = ()) -> Tensor:
    """Logits of the distribution that `choose` draws from, float32 [rows, vocab]: -inf for what it never draws.

    Their softmax is that distribution; of a greedy row it is one token. Arguments as for `choose`.
    """
    logits = _adjusted(logits, samplings, seen)
    found = torch.full_like(logits, -torch.inf).scatter_(-1, logits.argmax(-1, keepdim=True), 0.0)
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if drawn:
        which, of_rows = torch.tensor(drawn, device=logits.device), [samplings[row] for row in drawn]
        scaled = _scaled(logits[which], of_rows)
        cut = [row for row, sampling in enumerate(of_rows) if _cuts(sampling)]
        for rows, order, left in _left(logits[which], scaled, of_rows, cut):
            scaled[rows] = torch.full_like(scaled[rows], -torch.inf).scatter_(-1, order, left)
        found[which] = scaled
    return found


def _adjusted(logits: Tensor, samplings: Sequence[Sampling], seen: Sequence[Seen | None]) -> Tensor:
    """What comes before the temperature, float32."""
    if logits.device.type == "mps":  # has no float64
        logits = logits.cpu()
    logits = logits.float()
    return _penalised(logits, samplings, seen) if any(map(penalises, samplings)) else logits


def _cuts(sampling: Sampling) -> bool:
    return sampling.min_p > 0 or sampling.top_k is not None or sampling.top_p < 1


def _column(values: Sequence[float], logits: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """One number per row, [rows, 1]."""
    return torch.tensor(values, dtype=dtype, device=logits.device)[:, None]


def _penalised(logits: Tensor, samplings: Sequence[Sampling], seen: Sequence[Seen | None]) -> Tensor:
    """Only tokens that were seen change, so only they are looked at."""
    found = [(row, one, seen[row] if seen else None) for row, one in enumerate(samplings) if penalises(one)]
    ids, counts, rows = [], [], []
    for row, _, of_row in found:
        if of_row is None:
            raise ValueError("a penalty is in force, so what was seen is needed")
        ids.append(of_row.ids)
        counts.append(of_row.counts)
        rows.append(torch.full_like(of_row.ids, row))
    place = (torch.cat(rows).to(logits.device), torch.cat(ids).to(logits.device))
    count = torch.cat(counts).to(logits.device)
    of_token = [_column([getattr(one, name) for one in samplings], logits)[place[0], 0] for name in PENALTIES]
    repetition, presence, frequency = of_token
    values = logits[place]
    values = torch.where(values > 0, values / repetition, values * repetition)
    return logits.index_put(place, values - presence * (count > 0) - frequency * count)


def _scaled(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Logits over temperature, shifted so that the largest is 0: no temperature, however small, makes an infinity."""
    temperature = _column([one.temperature for one in samplings], logits).clamp(min=SMALLEST)
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def _draw_from_all(logits: Tensor, samplings: Sequence[Sampling], keys: Tensor) -> Tensor:
    ids = torch.arange(logits.shape[-1], device=logits.device)[None]
    scaled = _few_rows(_scaled(logits, samplings))
    noises = (noise.gumbel(some, ids) for some in torch.split(keys, [len(block) for block in scaled]))
    return torch.cat([(block + noise).argmax(-1) for block, noise in zip(scaled, noises, strict=True)])


def _draw_from_kept(logits: Tensor, samplings: Sequence[Sampling], keys: Tensor) -> Tensor:
    chosen = torch.empty(len(samplings), dtype=torch.int64, device=logits.device)
    for rows, order, left in _left(logits, _scaled(logits, samplings), samplings, list(range(len(samplings)))):
        scores = left + noise.gumbel(keys[rows], order)
        chosen[rows] = order.gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1)
    return chosen


def _left(
    logits: Tensor, scaled: Tensor, samplings: Sequence[Sampling], of: list[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What the cuts leave of some rows: which these are, int64 [some]; ids in order, int64 [some, width]; and their
    scaled logits in that order, float32 [some, width], -inf where cut.

    Rows whose cuts do not fall among the first `WIDTHS` tokens are looked at again, with more of them in order.
    """
    vocab = logits.shape[-1]
    for width in (*(width for width in WIDTHS if width < vocab), vocab):
        if not of:
            return
        rows = torch.tensor(of, device=logits.device)
        order, certain = _order(logits[rows], width)
        kept, settled = _count_kept(scaled[rows], order, certain, [samplings[row] for row in of])
        left = scaled[rows].gather(-1, order)
        left.masked_fill_(torch.arange(order.shape[-1], device=logits.device) >= kept, -torch.inf)
        yield rows[settled], order[settled], left[settled]
        of = [row for row, done in zip(of, settled.tolist(), strict=True) if not done]


def _order(logits: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Ids of the most probable tokens by (logit descending, id ascending), int64 [rows, width]; how many are certain.

    By the logits themselves: dividing could make two of them equal and hand the tie to the wrong token. Of the tokens
    that are equal to the last one, others may have been left out: those are not certain. int64 [rows, 1].
    """
    if width == logits.shape[-1]:
        order = torch.sort(logits, dim=-1, descending=True, stable=True).indices
        return order, torch.full((len(order), 1), width, device=logits.device)
    ids = logits.topk(width, sorted=False).indices.sort(-1).values
    values, places = torch.sort(logits.gather(-1, ids), dim=-1, descending=True, stable=True)
    return ids.gather(-1, places), (values > values[:, -1:]).sum(-1, keepdim=True)


def _count_kept(scaled: Tensor, order: Tensor, certain: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """How many tokens of each row's order the cuts leave, int64 [rows, 1]; and whether that is settled, bool [rows].

    scaled: [rows, vocab], the largest 0. Every cut keeps a beginning of the order, so one number says it all; it is
    settled when the cut falls among the tokens that are certain.
    """
    vocab, first = scaled.shape[-1], scaled.gather(-1, order)
    places, everything = torch.arange(order.shape[-1], device=scaled.device), certain == vocab
    top_k = _column([one.top_k or vocab for one in samplings], scaled, torch.int64)
    enough = first.exp() >= _column([one.min_p for one in samplings], scaled)
    # min-p and top-k first; without either of them all tokens are left, whatever is in order.
    uncut = _column([one.min_p == 0 and one.top_k is None for one in samplings], scaled, torch.bool)
    left = torch.where(uncut, vocab, (enough & (places < top_k)).sum(-1, keepdim=True))
    known = uncut | (left < certain) | ((left == top_k) & (left <= certain)) | everything
    shares = first.double().exp().masked_fill_(places >= left, 0.0)
    total = _row_sums(shares)
    if bool(uncut.any()):
        sums = torch.cat([_row_sums(block.double().exp()) for block in _few_rows(scaled)])
        total = torch.where(uncut, sums, total)
    # 1 keeps all, also when rounding lets the sum reach 1 before the last token.
    top_p = _column([one.top_p if one.top_p < 1 else torch.inf for one in samplings], scaled, torch.float64)
    kept = ((_sum_before(shares) < top_p * total) & (places < left)).sum(-1, keepdim=True)
    settled = known & ((kept < certain) | ((kept == left) & (left <= certain)) | everything)
    return kept, settled.squeeze(-1)


def _few_rows(table: Tensor) -> tuple[Tensor, ...]:
    """So many rows at a time that what is computed of their vocabulary stays in the processor's cache."""
    return torch.split(table, max(2, BLOCK // table.shape[-1]))


def _row_sums(shares: Tensor) -> Tensor:
    """float64 [rows, 1]. A single row's sum would be shared out among threads, which rounds differently."""
    rows = len(shares)
    return (shares if rows > 1 else shares.expand(2, -1).contiguous()).sum(-1, keepdim=True)[:rows]


def _sum_before(shares: Tensor) -> Tensor:
    """For each position of a row the sum of those before it; float64 [rows, tokens]."""
    rows = shares.shape[0]
    if shares.is_cuda and rows == 1:  # a single row takes another kernel there, which rounds differently
        shares = shares.expand(2, -1).contiguous()
    return torch.nn.functional.pad(shares.cumsum(-1)[:rows, :-1], (1, 0))
