"""Penalties, bias and bans: what changes single logits before a token is drawn, in the order of `core/sampling.py`.

Only the tokens that are concerned are looked at, of all rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers.history import History

PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")


def adjusted(logits: Tensor, samplings: Sequence[Sampling], histories: Sequence[History | None]) -> Tensor:
    """The logits with bias, bans and penalties, float32 [rows, vocab]; those given, of any type, stay as they are.

    histories: each has understood its row's sampling; None will do for a row without any of this. Bans may leave a row
    without a finite logit.
    """
    past = dict(enumerate(histories))
    marked = {row: _known(past[row]) for row, one in enumerate(samplings) if _marks(one, past[row])}
    penalised = {row: _known(past[row]) for row, one in enumerate(samplings) if _penalises(one)}
    dry = {row: _known(past[row]) for row, one in enumerate(samplings) if one.dry_multiplier > 0}
    changes = bool(marked or penalised or dry)
    logits = logits.to(torch.float32, copy=changes)
    if changes:
        _subtract(logits, {row: _bias_and_bans(samplings[row], history) for row, history in marked.items()})
        _penalise(logits, samplings, penalised)
        _subtract(logits, {row: history.repetitions(samplings[row]) for row, history in dry.items()})
    return logits


def _penalises(sampling: Sampling) -> bool:
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0


def _marks(sampling: Sampling, history: History | None) -> bool:
    asked = sampling.logit_bias or sampling.end_bias or sampling.bad_words
    return bool(asked) or (history is not None and history.must_go_on)


def _known(history: History | None) -> History:
    if history is None:
        raise ValueError("a bias, ban or penalty is in force, so the history is needed")
    return history


def _bias_and_bans(sampling: Sampling, history: History) -> dict[int, float]:
    """What to subtract from the logit of each token: infinity from one that is banned, whatever its bias."""
    bias = {token_id: -value for token_id, value in sampling.logit_bias.items()}
    if sampling.end_bias:
        bias |= {token_id: bias.get(token_id, 0.0) - sampling.end_bias for token_id in history.ends}
    return bias | dict.fromkeys(history.banned(), torch.inf)


def _subtract(logits: Tensor, amounts: Mapping[int, Mapping[int, float]]) -> None:
    """In place, of each row its amounts by token."""
    found = [(row, token_id, amount) for row, some in amounts.items() for token_id, amount in some.items()]
    if found:
        rows, ids, values = (torch.tensor(one, device=logits.device) for one in zip(*found, strict=True))
        logits[rows, ids] -= values.float()


def _penalise(logits: Tensor, samplings: Sequence[Sampling], histories: Mapping[int, History]) -> None:
    """In place, for what was seen."""
    seen = {row: history.seen for row, history in histories.items()}
    if not seen:
        return
    rows = torch.cat([torch.full_like(one.ids, row) for row, one in seen.items()]).to(logits.device)
    ids = torch.cat([one.ids for one in seen.values()]).to(logits.device)
    count = torch.cat([one.counts for one in seen.values()]).to(logits.device)
    of_row = [torch.tensor([getattr(one, name) for one in samplings], device=logits.device) for name in PENALTIES]
    repetition, presence, frequency = (one[rows] for one in of_row)
    values = logits[rows, ids]
    values = torch.where(values > 0, values / repetition, values * repetition)
    logits[rows, ids] = values - (presence + frequency * count).where(count > 0, 0.0)
