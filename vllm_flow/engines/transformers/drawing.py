"""Drawing: the next token of many rows at once; what goes wrong with one of them is that one's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from vllm_flow.core.likelihoods import TokenLikelihood
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Token
from vllm_flow.engines.transformers.failures import check_left, check_numbers, finite
from vllm_flow.engines.transformers.likelihood import likelihoods
from vllm_flow.engines.transformers.penalties import adjusted
from vllm_flow.engines.transformers.row import Row
from vllm_flow.engines.transformers.sampler import choose, processed
from vllm_flow.engines.transformers.shaped import shaped
from vllm_flow.engines.transformers.signals import heard, keep_surprises
from vllm_flow.engines.transformers.tables import together


@dataclass(frozen=True, slots=True)
class Undrawn:
    """A row, and the logits that its next token is to be drawn from, [vocab]."""

    row: Row
    logits: Tensor


def next_tokens(undrawn: Sequence[Undrawn], spell: Callable[[int], str]) -> Iterator[tuple[Row, Token | Exception]]:
    """Of each row the token that it goes on with, or why it cannot. spell: what an id says by itself."""
    if not undrawn:
        return
    logits = together([one.logits for one in undrawn])
    ready: list[tuple[Undrawn, Sampling]] = []
    signals = heard([one.row for one in undrawn], logits)
    for one, numbers, told in zip(undrawn, finite(logits), signals, strict=True):
        try:
            check_numbers(numbers, f"generated token {len(one.row.output)}", one.row.job.request.adapter)
            ready.append((one, one.row.asked(told)))
        except Exception as error:  # a schedule is anybody's code
            yield one.row, error
    if not ready:
        return
    if len(ready) < len(undrawn):
        logits = together([one.logits for one, _ in ready])
    yield from _taken([one.row for one, _ in ready], [how for _, how in ready], logits, spell)


def _taken(
    rows: Sequence[Row], samplings: Sequence[Sampling], logits: Tensor, spell: Callable[[int], str]
) -> Iterator[tuple[Row, Token | Exception]]:
    """logits: [rows, vocab], all of them numbers."""
    seeds, indices = [row.job.request.seed for row in rows], [len(row.output) for row in rows]
    marked = adjusted(logits, samplings, [row.history for row in rows])
    marked = shaped(marked, [row.shaping for row in rows])
    left = [True] * len(rows) if marked is logits else finite(marked)
    chosen = choose(marked, samplings, seeds, indices)
    keep_surprises(rows, samplings, marked, chosen)
    likely = _likelihoods(rows, samplings, logits, marked, chosen, spell=spell)
    for place, (row, token_id) in enumerate(zip(rows, chosen.tolist(), strict=True)):
        try:
            check_left(left[place], len(row.output), row.job.request.shape)
            yield row, row.take(token_id, likely.get(row))
        except Exception as error:
            yield row, error


def _likelihoods(
    rows: Sequence[Row],
    samplings: Sequence[Sampling],
    logits: Tensor,
    marked: Tensor,
    chosen: Tensor,
    *,
    spell: Callable[[int], str],
) -> dict[Row, tuple[float, TokenLikelihood]]:
    """Of the rows that asked for it, all at once: how their tokens stood among the others."""
    asked = [place for place, row in enumerate(rows) if row.job.request.logprobs]
    if not asked:
        return {}
    who, how = [rows[place] for place in asked], [samplings[place] for place in asked]
    seeds, indices = [row.job.request.seed for row in who], [len(row.output) for row in who]
    drawn_from = processed(marked[asked], how, seeds, indices)
    counts = [row.job.request.top_logprobs for row in who]
    return dict(zip(who, likelihoods(logits[asked], drawn_from, chosen[asked], counts, spell), strict=True))
