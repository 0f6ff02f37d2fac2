"""The story of a run: its events once more, from the record, for whoever shows them. No model, no stage is loaded."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from vllm_flow.core.codec import completion_from_json
from vllm_flow.core.events import Event, NodeDone, TokenMade, ToolUsed, TurnDone, TurnStarted
from vllm_flow.core.heard import CALL
from vllm_flow.core.ledger import Ledger
from vllm_flow.core.messages import Text, user
from vllm_flow.core.record_rows import text_in
from vllm_flow.core.recorded import Recorded, Row
from vllm_flow.core.results import Failure, Result
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Completion, Context, Prompt, Token, Turn

ENDS = ("turn done", "turn failed", "turn served from the store")


def rows_as_they_came(recorded: Recorded) -> Iterator[Row]:
    """The rows of results in the order in which the run had them."""
    for event, row in _Story(recorded).steps():
        if row is not None and event["event"] in ENDS:
            yield row


def events_as_they_came(recorded: Recorded) -> Iterator[Event]:
    """What the run told its screen. The tokens of an answer come as one, and values as far as a screen shows them."""
    calls, begun = recorded.calls(), set[int]()
    for event, row in _Story(recorded).steps():
        if event["event"] == "turn started" and "index" in event:
            if event["index"] in begun:  # and again, when the run was gone on with
                continue
            begun.add(event["index"])
        if row is None:
            yield from _unfinished(event, calls.get(event.get("index", -1)))
            continue
        turn = recorded.turn(row)
        match event["event"]:
            case "turn started":
                yield TurnStarted(turn)
                yield from _said(turn, calls.get(turn.index))
            case "context":
                yield NodeDone(turn, event["node"], _context(event))
            case "prompt":
                yield NodeDone(turn, event["node"], _prompt(event))
            case _:
                yield TurnDone(_result(turn, row, event), event.get("seconds", 0.0))


class _Story:
    """Events, each with the row of results of its turn; None for a turn that came to no end."""

    def __init__(self, recorded: Recorded) -> None:
        self._events = recorded.events()
        rows = recorded.results()
        self._by_index: dict[int, Row] = {row["index"]: row for row in rows}
        self._waiting: defaultdict[tuple[str, int | None], deque[Row]] = defaultdict(deque)
        """Format 1 names no index: of one conversation and number the earlier asked is the earlier answered."""
        for row in rows:
            self._waiting[row["conversation"], row["turn"]].append(row)

    def steps(self) -> Iterator[tuple[Row, Row | None]]:
        for event in self._events:
            if event["event"] in (*ENDS, "turn started", "context", "prompt"):
                yield event, self._row(event)
        for row in list(self._by_index.values()):  # a killed run wrote a result and came no further
            yield {"event": ENDS[0]}, row

    def _row(self, event: Row) -> Row | None:
        ends = event["event"] in ENDS
        waiting = self._waiting[event["conversation"], event["turn"]]
        row = self._by_index.get(event["index"]) if "index" in event else waiting[0] if waiting else None
        if row is not None and ends:
            waiting.remove(row)
            del self._by_index[row["index"]]
        return row


def _context(event: Row) -> Context:
    """As far as a screen shows it."""
    gone = LeftOut("history", "messages", event["dropped"], "the context policy keeps fewer")
    return Context(left_out=(gone,) if gone.count else ())


def _prompt(event: Row) -> Prompt:
    gone = tuple(LeftOut(**one) for one in event["left_out"])
    return Prompt((), ledger=Ledger((), gone))


def _said(turn: Turn, calls: Row | None) -> Iterator[Event]:
    for call in calls["calls"] if calls else ():
        if call["method"] == CALL and call["value"]:  # they stand behind the answers of their node
            yield from _used(turn, call)
    for call in calls["calls"] if calls else ():
        if call.get("live") and call["completion"]:
            token = Token(None, call["completion"]["text"])
            yield TokenMade(turn, call["node"], call["sample"], token, live=True)


def _used(turn: Turn, call: Row) -> Iterator[Event]:
    value = call["value"]
    asked = ToolCall(value["asked"]["name"], value["asked"]["arguments"])
    for result in (None, ToolResult(asked.name, value["text"], error=value.get("error", ""))):
        yield ToolUsed(turn, call["node"], asked, result)


def _unfinished(event: Row, calls: Row | None) -> Iterator[Event]:
    """What had been said of an answer that was cut off."""
    if event["event"] == "turn started":
        turn = Turn(event["conversation"], user(""), number=event["turn"])
        yield TurnStarted(turn)
        yield from _said(turn, calls)


def _result(turn: Turn, row: Row, event: Row) -> Result:
    stored = event["event"] == "turn served from the store"
    if row["failure"] is not None:
        return Result(turn, failure=Failure(**row["failure"]))
    return Result(turn, None if row["value"] is None else _value(row["value"], event), stored=stored)


def _value(value: Any, event: Row) -> Completion | Text:
    try:
        return completion_from_json(value)
    except ValueError:
        return Text(event.get("shown", text_in(value)))
