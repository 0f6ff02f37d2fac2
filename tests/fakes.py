"""Parts whose behaviour a test controls: an engine with gates, faults and counters, and small stages.

They are registered like anybody's plugin. What a test wants to see afterwards is on `LOG`; `fresh_log` empties it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core.errors import EngineError, StoreError
from vllm_flow.core.messages import Text, user
from vllm_flow.core.registry import resource, stage
from vllm_flow.core.resources import Capabilities, Store
from vllm_flow.core.values import Completion, Context, Finish, Prompt, Request, Score, Token, Turn, Usage
from vllm_flow.stores.memory import MemoryStore


@dataclass
class Log:
    """What the fakes did."""

    opened: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    closed_streams: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    calls: list[str] = field(default_factory=list)


LOG = Log()


def fresh_log() -> Log:
    LOG.__init__()  # type: ignore[misc]
    return LOG


@resource("fake/engine", shared=True)
@dataclass(frozen=True)
class FakeOptions:
    """Answers with the last message's words. What the words say decides what goes wrong.

    `fail`: EngineError. `crash`: ValueError after one token. `wait`: endless after two tokens. `unfinished`: no finish.
    """

    name: str = "fake"
    delay_s: float = 0.0
    honours: tuple[str, ...] = ("temperature", "top_p", "max_tokens")
    logprobs: bool = False
    fails_to_open: bool = False
    fails_to_close: bool = False

    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset(self.honours), self.logprobs)

    def open(self) -> FakeEngine:
        if self.fails_to_open:
            raise EngineError(f"{self.name}: no such weights. Choose another model.")
        LOG.opened.append(self.name)
        return FakeEngine(self)


class FakeEngine:
    def __init__(self, options: FakeOptions) -> None:
        self.options = options

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        LOG.requests.append(request)
        LOG.in_flight += 1
        LOG.most_in_flight = max(LOG.most_in_flight, LOG.in_flight)
        try:
            async for token in self._say(request):
                yield token
        finally:
            LOG.in_flight -= 1
            LOG.closed_streams += 1

    async def _say(self, request: Request) -> AsyncGenerator[Token, None]:
        words = request.prompt.messages[-1].text.split()
        await asyncio.sleep(self.options.delay_s)
        if "fail" in words:
            raise EngineError("the engine refuses this. Ask something else.")
        for place, word in enumerate(words):
            last = place == len(words) - 1 and "unfinished" not in words
            finish = Finish("stop", Usage(self.count(request.prompt), len(words))) if last else None
            yield Token(place, f"{word} ", -0.5 if request.logprobs else None, finish)
            if word == "crash":
                raise ValueError("boom")
            if word == "wait" and place:
                await asyncio.sleep(3600)

    def count(self, prompt: Prompt) -> int:
        return sum(len(message.text.split()) for message in prompt.messages)

    def describe(self) -> Mapping[str, Any]:
        return {"engine": "fake", "model": self.options.name}

    def close(self) -> None:
        LOG.closed.append(self.options.name)
        if self.options.fails_to_close:
            raise EngineError(f"{self.options.name}: cannot be closed. Pull the plug.")


class FullStore(MemoryStore):
    """Knows no number for conversation `c0`, and keeps no interrupted answer."""

    def next_number(self, conversation: str) -> int:
        if conversation == "c0":
            raise StoreError("fake: the disk is full. Free some space.")
        return super().next_number(conversation)

    def interrupt(self, turn: Turn, partial: Completion) -> None:
        raise StoreError("fake: the disk is full. Free some space.")


@resource("fake/store")
@dataclass(frozen=True)
class FullStoreOptions:
    """A store that fails now and then."""

    def open(self) -> FullStore:
        return FullStore()


class Bell:
    """A live resource that is neither engine nor store."""

    def __init__(self, options: BellOptions) -> None:
        self.options = options

    def close(self) -> None:
        LOG.closed.append(self.options.name)
        if self.options.fails_to_close:
            raise OSError("the bell is stuck")


@resource("fake/bell")
@dataclass(frozen=True)
class BellOptions:
    """A resource that may fail to open or to close."""

    name: str = "bell"
    fails_to_open: bool = False
    fails_to_close: bool = False

    def open(self) -> Bell:
        if self.fails_to_open:
            raise OSError("there is no bell")
        LOG.opened.append(self.name)
        return Bell(self)


@stage("fake/ring")
@dataclass(frozen=True)
class Ring:
    """Asks for a bell and makes the text of the turn."""

    def run(self, turn: Turn, bell: Bell) -> Text:
        return Text(turn.text)


@stage("fake/text")
@dataclass(frozen=True)
class TextOf:
    """The turn's text; `boom` raises, `stop` raises StopIteration, `cancel` is cancelled from within."""

    def run(self, turn: Turn) -> Text:
        LOG.calls.append(turn.text)
        match turn.text:
            case "boom":
                raise ValueError("boom")
            case "silent":
                raise TimeoutError
            case "lines":
                raise ValueError("one\n  two")
            case "stop":
                raise StopIteration
            case "cancel":
                raise asyncio.CancelledError
            case "group":
                raise BaseExceptionGroup("many", [KeyboardInterrupt(), ValueError("boom")])
        return Text(turn.text)


@stage("fake/slow", blocking=True)
@dataclass(frozen=True)
class Slow:
    """Blocks a thread; `stop` raises StopIteration."""

    seconds: float = 0.05

    def run(self, turn: Turn) -> Text:
        LOG.in_flight += 1
        LOG.most_in_flight = max(LOG.most_in_flight, LOG.in_flight)
        time.sleep(self.seconds)
        LOG.in_flight -= 1
        if turn.text == "stop":
            raise StopIteration
        return Text(turn.text)


@dataclass(frozen=True)
class Flag:
    """A value that decides."""

    on: bool

    def __bool__(self) -> bool:
        return self.on


@stage("fake/asks")
@dataclass(frozen=True)
class Asks:
    """Whether the turn's text ends with a question mark."""

    def run(self, turn: Turn) -> Flag:
        return Flag(turn.text.endswith("?"))


@stage("fake/either")
@dataclass(frozen=True)
class Either:
    """The first of two completions that is there."""

    def run(self, first: Completion | None, second: Completion | None) -> Completion:
        made = first or second
        if made is None:
            raise EngineError("neither is there. Make one.")
        return made


@stage("fake/join")
@dataclass(frozen=True)
class Join:
    """Two texts as one."""

    def run(self, first: Text, second: Text) -> Text:
        return Text(first.text + second.text)


@stage("fake/pair")
@dataclass(frozen=True)
class Pair:
    """A text and a reply as one text."""

    def run(self, text: Text, reply: Completion) -> Text:
        return Text(f"{text.text} {reply.text}")


@stage("fake/guard")
@dataclass(frozen=True)
class Guard:
    """Replaces the answer."""

    def run(self, reply: Completion) -> Completion:
        return Completion("[checked]", (), reply.finish_reason, reply.usage)


@stage("fake/split")
@dataclass(frozen=True)
class Split:
    """One prompt per word of the turn."""

    def run(self, turn: Turn) -> tuple[Prompt, ...]:
        return tuple(Prompt((user(word),)) for word in turn.text.split())


@stage("fake/length")
@dataclass(frozen=True)
class Length:
    """Scores a completion by its length."""

    async def run(self, completion: Completion) -> Score:
        await asyncio.sleep(0.05)
        if "bad" in completion.text:
            raise ValueError("a bad one")
        return Score(len(completion.text))


@stage("fake/begin")
@dataclass(frozen=True)
class Begin:
    """Begins the turn in the store, with the words of its own text as context."""

    def run(self, turn: Turn, store: Store) -> Context:
        store.begin(turn)
        return Context()


@stage("fake/untyped")
@dataclass(frozen=True)
class Untyped:
    """A stage whose parameter has no type."""

    def run(self, turn) -> Text:  # type: ignore[no-untyped-def]
        return Text(str(turn))


@stage("fake/star")
@dataclass(frozen=True)
class Star:
    """A stage that takes anything."""

    def run(self, **values: Any) -> Text:
        return Text(str(values))


@stage("fake/listed")
@dataclass(frozen=True)
class ListOption:
    """A stage with an option of a type no option has."""

    names: list[int]

    def run(self, turn: Turn) -> Text:
        return Text(turn.text)


@stage("fake/undefined")
@dataclass(frozen=True)
class Undefined:
    """A stage with an option whose type does not exist."""

    names: Nowhere  # type: ignore[name-defined]  # noqa: F821

    def run(self, turn: Turn) -> Text:
        return Text(turn.text)


@dataclass(frozen=True)
class Range:
    """Two numbers in order."""

    low: int
    high: int = 10

    def problems(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low {self.low} is above high {self.high}. Swap them."


@stage("fake/options")
@dataclass(frozen=True)
class Options:
    """A stage with an option of every kind."""

    mode: str
    range: Range | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def run(self, turn: Turn) -> Text:
        return Text(turn.text)
