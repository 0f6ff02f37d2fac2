"""What a stage hears from outside: the time, a page of the web, what a tool gave. Recorded, to be told again.

Such a resource is handed out bound to node and turn as engines are. Told again, a stage hears what it heard then, in
that order. When it asks for something else, or more often than it did, only a clock answers: nobody wants a page
fetched, or a tool to do a second time what it does, for a look at what once was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from vllm_flow.core.describing import PageReader, Tagger
from vllm_flow.core.errors import WebError
from vllm_flow.core.events import Event, ToolUsed
from vllm_flow.core.pages import Page, Web
from vllm_flow.core.resources import Clock
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.tools import Tools
from vllm_flow.core.transcripts import Transcriber
from vllm_flow.core.values import Turn

Recall = Callable[[Turn, str, str, str, int], Any]
"""(turn, node, resource, method, how often asked before) → what was answered then, as JSON; None when nothing was."""
NOW = "now"
GET = "get"
CALL = "call"
NOT_THEN = "the recorded run did not ask for this, so nobody was asked."
Publish = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Outside:
    """Marks an open resource among the given values of which each node gets a binding of its own."""

    live: Clock | Web | Tools | Tagger | PageReader | Transcriber
    resource: str


class Bound:
    """What it answered is in `said`, for the walk to publish."""

    method: str

    def __init__(self, outside: Outside, turn: Turn, node: str, recall: Recall | None) -> None:
        self.resource = outside.resource
        self.said: list[Any] = []
        """In the order in which it was asked; None for what was not waited for."""
        self._live: Any = outside.live
        self._turn, self._recall = turn, recall
        self._asked = (turn, node, outside.resource, self.method)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)  # one of somebody's own may do more

    @property
    def unbound(self) -> Any:
        """The resource itself, for what is recorded as a whole."""
        return self._live

    def _then(self) -> Any:
        return self._recall(*self._asked, len(self.said)) if self._recall else None


class BoundClock(Bound):
    method = NOW

    def now(self) -> datetime:
        then = self._then()
        moment: datetime = self._live.now() if then is None else moment_from_json(then)
        self.said.append(moment)
        return moment


class BoundWeb(Bound):
    """What went wrong is told again, too: the turn went on from there."""

    method = GET

    async def get(self, url: str) -> Page:
        then, place = self._then(), len(self.said)
        self.said.append(None)
        again = isinstance(then, Mapping) and then.get("asked") == url
        if self._recall and not again:
            answer: Any = {"asked": url, "error": f"{url}: {NOT_THEN}"}
        else:
            answer = then if again else await self._live_answer(url)
        self.said[place] = answer
        if "error" in answer:
            raise WebError(answer["error"])
        return Page(**answer["page"])

    async def _live_answer(self, url: str) -> dict[str, Any]:
        try:
            page: Page = await self._live.get(url)
        except WebError as error:
            return {"asked": url, "error": str(error)}
        return {"asked": url, "page": {"url": page.url, "media_type": page.media_type, "text": page.text}}


class BoundTools(Bound):
    """Whoever watches is told of each call when it begins and when it has ended."""

    method = CALL

    def __init__(
        self, outside: Outside, turn: Turn, node: str, recall: Recall | None, publish: Publish = lambda _: None
    ) -> None:
        super().__init__(outside, turn, node, recall)
        self._tell: Callable[[ToolCall, ToolResult | None], None] = lambda call, result: publish(
            ToolUsed(turn, node, call, result)
        )

    async def call(self, call: ToolCall, given: Mapping[str, Any]) -> ToolResult:
        then, place, asked = self._then(), len(self.said), {"name": call.name, "arguments": dict(call.arguments)}
        self.said.append(None)
        self._tell(call, None)
        if isinstance(then, Mapping) and then.get("asked") == asked:
            result = ToolResult(call.name, then["text"], call.id, then.get("error", ""), then.get("say", ""))
        elif self._recall:
            result = ToolResult(call.name, f"Error: {NOT_THEN}", call.id, "NotRecorded")
        else:
            whole = {name: one.unbound if isinstance(one, Bound) else one for name, one in given.items()}
            result = await self._live.call(call, whole)
        rare = {key: one for key, one in (("error", result.error), ("say", result.say)) if one}
        self.said[place] = {"asked": asked, "text": result.text, **rare}
        self._tell(call, result)
        return result


def moment_to_json(moment: datetime) -> dict[str, Any]:
    """`{time}` with the offset from UTC, and the `zone` of the IANA database or the `name` of the offset."""
    key = getattr(moment.tzinfo, "key", None)
    return {"time": moment.isoformat(), **({"zone": key} if key else {"name": moment.tzname()})}


def moment_from_json(data: Mapping[str, Any]) -> datetime:
    """An equal moment, of the same zone. Raises ValueError, KeyError and TypeError for what is none."""
    moment = datetime.fromisoformat(data["time"])
    if zone := data.get("zone"):
        return moment.astimezone(ZoneInfo(zone))
    offset, name = moment.utcoffset() or timedelta(), data.get("name")
    return moment.replace(tzinfo=timezone(offset, name) if name else timezone(offset))
