"""Calls: what each turn asked of engines and clocks, what it was told, and a digest of every value on the way.

One row a turn, made when the turn is over, so that a result never stands in a record without what it came from. This is
what lets a recomputation name the first stage, request and token that differ.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from vllm_flow.core.codec import to_json
from vllm_flow.core.events import Called, Event, Heard, NodeDone, TokenMade, TurnDone, TurnStarted
from vllm_flow.core.heard import moment_to_json
from vllm_flow.core.results import Result
from vllm_flow.core.sampling import in_force
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Token, Turn

Row = dict[str, Any]
Emit = Callable[[Row, Result | None], None]
"""Takes the row of a turn, and its result; None for a turn that came to no end."""
DIGEST_BYTES = 8


class Calls:
    """An observer: gathers the rows of the turns in flight, and hands each over when its turn is done."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._open: dict[tuple[str, int | None], Row] = {}
        self._schedule: tuple[Schedule | None, str | None] = (None, None)

    def __call__(self, event: Event) -> None:
        match event:
            case TokenMade():
                pass
            case TurnStarted(turn):
                if (stopped := self._open.pop(_key(turn), None)) is not None:  # and now it is asked again
                    self._emit(stopped, None)
                self._row(turn)
            case Called(turn=turn):
                self._row(turn)["calls"].append(call_row(event))
            case Heard(turn=turn):
                self._row(turn)["calls"].append(heard_row(event))
            case NodeDone(turn, node, value):
                self._row(turn)["values"][node] = self._digest(value)
            case TurnDone(result):
                row = self._open.pop(_key(result.turn), None)
                if row is not None:
                    self._emit(row, result)

    def finish(self) -> None:
        """Hand over the turns that came to no end."""
        while self._open:
            self._emit(self._open.pop(next(iter(self._open))), None)

    def _row(self, turn: Turn) -> Row:
        row = self._open.get(key := _key(turn))
        if row is None:
            of: Row = {"index": turn.index, "conversation": turn.conversation, "turn": turn.number}
            row = self._open[key] = {**of, "calls": [], "values": {}}
        return row

    def _digest(self, value: object) -> str | None:
        """Turn for turn the schedule is mostly the same, and long."""
        if not isinstance(value, Schedule):
            return digest(value)
        known, found = self._schedule
        if known is None or known.sampling is not value.sampling or known != value:
            found = digest(value)
            self._schedule = value, found
        return found


def _key(turn: Turn) -> tuple[str, int | None]:
    return turn.conversation, turn.number


def call_row(event: Called) -> Row:
    """A request to an engine: what was asked, with the values in force, and the answer as far as it came."""
    request, tokens = event.request, event.tokens
    finish = tokens[-1].finish if tokens else None
    row: Row = {"node": event.node, "resource": event.resource, "method": "generate", "sample": request.sample}
    row |= {"seed": request.seed, "live": event.live, **in_force_row(request.schedule, tokens)}
    row |= {} if request.adapter is None else {"adapter": request.adapter}
    row |= {} if request.shape is None else {"shape": {request.shape.kind: _listed(request.shape.value)}}
    if finish is not None and finish.prompt_ids is not None:
        row["prompt_ids"] = finish.prompt_ids
    else:  # the tokenizer is elsewhere, or the request came to no end
        row["messages"] = to_json(request.prompt.messages)
    row["ledger"] = event.ledger.row()
    row["completion"] = {
        "text": "".join([token.text for token in tokens]),
        "token_ids": tuple([token.id for token in tokens if token.id is not None]),
        "finish_reason": finish.reason if finish else None,
    }
    if finish is not None:
        row["completion"]["usage"] = to_json(finish.usage)
    return row


def heard_row(event: Heard) -> Row:
    value = moment_to_json(event.value) if isinstance(event.value, datetime) else to_json(event.value)
    return {"node": event.node, "resource": event.resource, "method": event.method, "value": value}


def in_force_row(schedule: Schedule, tokens: Sequence[Token]) -> Row:
    """The values in force: those that hold from the first token on, and column by column those that move.

    `sampling` has pairs, the index of a generated token and the values that are not neutral from there on.
    """
    first = {name: _listed(value) for name, value in in_force(schedule.at(0)).items() if name not in schedule.moving}
    row: Row = {"sampling": [(0, first)]}
    moved = [token.moved for token in tokens if token.moved is not None]
    if moved:
        row["moving"] = {name: [one.values[name] for one in moved] for name in moved[0].values}
        told = dict.fromkeys(name for one in moved for name in one.signals)
        row |= {"signals": {name: [_short(one.signals.get(name)) for one in moved] for name in told}} if told else {}
    return row


def _short(signal: float | None) -> float | None:
    """To a millionth, which is more than anybody sees; the schedule was told all of it."""
    return None if signal is None else round(signal, 6)


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def digest(value: object) -> str | None:
    """A short hash of a value of the graph, equal for equal ones in any process; None for what is not data."""
    try:
        text = ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.blake2b(text.encode("ascii"), digest_size=DIGEST_BYTES).hexdigest()


@cache
def _fields(cls: Any) -> tuple[tuple[str, Any], ...] | None:
    """The names of the fields by which values are equal, each with its default; None for what is no dataclass."""
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
        return None
    return tuple((field.name, _default(field)) for field in dataclasses.fields(cls) if field.compare)


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _plain(value: object) -> Any:
    kind: Any = type(value)
    if (fields := _fields(kind)) is not None:
        # Without defaults, so that a field that a later version adds leaves the digests of old records as they are.
        said = ((name, getattr(value, name), default) for name, default in fields)
        return {name: one for name, one, default in said if one is not default and one != default}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"))
