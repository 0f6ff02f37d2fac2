"""Likelihoods as JSON, in columns: an answer has thousands of tokens, and each would repeat every name.

JSON has no infinity, so a log-probability of -inf, that of a token which cannot come, is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vllm_flow.core.json_checks import (
    brief,
    check_keys,
    list_from_json,
    numbers_from_json,
    text_from_json,
    whole_from_json,
)
from vllm_flow.core.likelihoods import Alternative, Scored, TokenLikelihood

NAMES = ("processed_logprob", "raw_entropy", "processed_entropy")


def in_columns(likelihoods: Sequence[TokenLikelihood]) -> dict[str, Any]:
    """Each number as a list with one item for each token; `alternatives` likewise, if there are any.

    An alternative is `[id, text, raw log-probability, processed log-probability]`.
    """
    found: dict[str, Any] = {name: [getattr(one, name) for one in likelihoods] for name in NAMES}
    if any(one.alternatives for one in likelihoods):
        found["alternatives"] = [[_alternative(one) for one in place.alternatives] for place in likelihoods]
    return found


def _alternative(one: Alternative) -> tuple[Any, ...]:
    return one.id, one.text, one.raw_logprob, finite(one.processed_logprob)


def finite(logprob: float) -> float | None:
    """As JSON has it."""
    return None if logprob == -math.inf else logprob


def scored_to_json(scored: Scored) -> dict[str, Any]:
    """Its fields, and the perplexity, which is what most look for."""
    return {
        "token_ids": scored.token_ids,
        "logprobs": [finite(one) for one in scored.logprobs],
        "entropies": scored.entropies,
        "greedy": scored.greedy,
        "prompt_tokens": scored.prompt_tokens,
        "perplexity": None if math.isinf(scored.perplexity) else scored.perplexity,
    }


def likelihoods_from_json(data: Any, where: str, tokens: int) -> tuple[TokenLikelihood, ...]:
    """What `in_columns` made of the likelihoods of so many tokens. Raises ValueError."""
    check_keys(data, where, NAMES, ("alternatives",))
    columns = [numbers_from_json(data[name], f"{where}.{name}") for name in NAMES]
    listed = list_from_json(data.get("alternatives", [[]] * tokens), f"{where}.alternatives")
    alternatives = [_alternatives(item, f"{where}.alternatives.{place}") for place, item in enumerate(listed)]
    if any(len(column) != tokens for column in (*columns, alternatives)):
        raise ValueError(f"{where}: not every list has {tokens} items. Give one for each token.")
    return tuple(TokenLikelihood(*of_token) for of_token in zip(*columns, alternatives, strict=True))


def _alternatives(data: Any, where: str) -> tuple[Alternative, ...]:
    pairs = enumerate(list_from_json(data, where))
    return tuple(_alternative_from(item, f"{where}.{place}") for place, item in pairs)


def _alternative_from(data: Any, where: str) -> Alternative:
    if not isinstance(data, list) or len(data) != 4:
        raise ValueError(f"{where}: {brief(data)} is no alternative. Give [id, text, logprob, processed logprob].")
    token_id, text, raw, processed = data
    logs = numbers_from_json([raw, -math.inf if processed is None else processed], where)
    return Alternative(whole_from_json(token_id, f"{where}.0"), text_from_json(text, f"{where}.1"), *logs)
