"""Drives one schedule by itself through the tokens of an answer, or the turns of a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.option_checks import own_problems


def driven(made: Any, signals: Iterable[Mapping[str, Any]]) -> list[float]:
    """The values that it gives, each told what it gave and kept before; what it keeps travels as JSON."""
    moving, found = Moving.of(made), list[float]()
    before, state = None, None
    for place, one in enumerate(signals):
        here = {"token": place} if moving.per_token else {"turn": place + 1}
        given = moving.at(Now(**{**here, **one, "before": before, "state": state}))
        before, state = given.value, json.loads(json.dumps(given.state))
        found.append(given.value)
    return found


def refused(made: Any) -> list[str]:
    return [f"{'.'.join(path)}: {problem}" for path, problem in own_problems(made)]
