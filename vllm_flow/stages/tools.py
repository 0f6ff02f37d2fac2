"""Inference with tools: the model may call functions before it answers, in rounds, within bounds.

Each round is an ordinary request to the engine, and each call is recorded with what it gave. Whatever goes wrong with a
call is told to the model, which mends it or answers without: nothing that a model writes, and nothing that a server far
away does, ends the turn. What the user sees as it is made is the answer; calls are shown as calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from vllm_flow.core.adapting import Adapted
from vllm_flow.core.errors import EngineError, listed
from vllm_flow.core.library import Library
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.pages import Web
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Clock, Engine, EngineOptions
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.shape import Shape
from vllm_flow.core.shown import holding
from vllm_flow.core.spec import Path
from vllm_flow.core.tool_prompts import folded, written_out
from vllm_flow.core.tool_shape import NOTHING, shape_of
from vllm_flow.core.tool_text import held_back, read
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.tools import MISTAKES, UNREADABLE, ToolOptions, Tools
from vllm_flow.core.values import Completion, Prompt, Request
from vllm_flow.stages.asking import version_of
from vllm_flow.stages.context.notes import says
from vllm_flow.stages.infer import advised, complete, one_answer, refused

Form = Literal["auto", "template", "constrained"]
NOT_SAID = "NotSaid"


@stage("infer/tools")
@dataclass(frozen=True)
class WithTools:
    """One answer from the engine, which may call functions first."""

    form: Form = "auto"
    """How it calls. template: as its chat template has it, or in writing where that has no tools. constrained: it can
    write nothing but a call, or that it needs none. auto: the template where that has tools, else constrained."""
    rounds: Annotated[int, at_least(0)] = 4
    """How often it may call before it has to answer; several calls at once are one round."""
    least: Annotated[int, at_least(0)] = 0
    """In how many rounds it has to call, where its calls are constrained."""
    mend: Annotated[int, at_least(0)] = 2
    """How many rounds more it has to mend calls that named no function, or gave it no fitting arguments."""
    seconds: Annotated[float, above(0)] = 120.0
    """After so long no further round begins."""
    said: tuple[str, ...] = ()
    """Arguments, such as weather.place, that the user has to have said: a small model makes up what it was not told.
    Constrained calls take them from the user's words. In others what cannot be left out is looked for there."""

    def problems(self) -> Iterator[OptionProblem]:
        for place, one in enumerate(self.said):
            if one.count(".") != 1:
                what = f"'{one}' names no argument. Write the function and its argument, such as weather.place."
                yield OptionProblem(("said", str(place)), what)
        if self.least > self.rounds:
            what = f"{self.least} rounds are more than rounds={self.rounds}. Lower it, or raise rounds."
            yield OptionProblem(("least",), what)
        if self.least and self.form == "template":
            what = "only constrained calls can be demanded. Set form: constrained, or least: 0."
            yield OptionProblem(("least",), what)

    def check(
        self,
        sampling: SamplingPlan,
        schedule: Schedule,
        engine: EngineOptions,
        tools: ToolOptions,
        *,
        clock: object = None,
        web: object = None,
    ) -> Iterator[tuple[Path, str]]:
        can = engine.capabilities()
        yield from refused(sampling, schedule, engine)
        yield from one_answer(sampling, schedule, "infer/tools")
        if self.form == "constrained" and "schema" not in can.shapes:
            yield (), "the engine holds no answer to a schema. Set form: template, or choose another engine."
        elif self.form == "template" and not can.tools:
            yield (), "the engine reads no tools in a prompt. Set form: constrained, or choose another engine."
        elif not can.tools and "schema" not in can.shapes:
            yield (), "the engine reads no tools in a prompt, and holds no answer to a schema. Choose another engine."
        there = {"clock": clock, "web": web}
        for name, wanted in tools.needs().items():
            if name in there and there[name] is None:  # of a value of the graph nothing is known yet
                what = f"{listed(wanted)} of resources.tools cannot do without '{name}', which is not there."
                yield (), f"{what} Add resources.{name}, or leave {listed(wanted)} out."

    def advise(self, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from advised(schedule, engine)

    async def run(
        self,
        prompt: Prompt,
        schedule: Schedule,
        engine: Engine,
        tools: Tools,
        *,
        clock: Clock | None = None,
        web: Web | None = None,
        library: Library | None = None,
        adapter: Adapted | None = None,
    ) -> Completion:
        if prompt.plain:
            raise EngineError("prompt: a plain prompt has no place for tools. Use fuse/chat.")
        there = {"clock": clock, "web": web, "library": library}
        given = {name: one for name, one in there.items() if one is not None}
        request = Request(prompt, schedule, adapter=version_of(adapter))
        return await _Talk(self, engine, tools, request, given).answer()


@dataclass(frozen=True)
class _Round:
    """What came of one request."""

    reply: Completion | None = None
    """The answer, when it calls nothing."""
    words: str = ""
    """What is said beside the calls, or in place of one that cannot be read."""
    calls: tuple[ToolCall, ...] = ()
    problem: str = ""

    @property
    def message(self) -> Message:
        return Message("assistant", (*((Text(self.words),) if self.words.strip() else ()), *self.calls))


class _Talk:
    """The rounds of one answer."""

    def __init__(
        self, options: WithTools, engine: Engine, tools: Tools, request: Request, given: Mapping[str, Any]
    ) -> None:
        self._options, self._engine, self._tools, self._request, self._given = options, engine, tools, request, given
        self._specs = tools.specs()
        self._steps: tuple[Message, ...] = ()
        self._asked = self._called = 0
        knows = engine.describe()
        fits = knows.get("tools") != "template" and "schema" in knows.get("shapes", ())
        self._constrained = options.form == "constrained" or (options.form == "auto" and fits)

    async def answer(self) -> Completion:
        rounds, mend, ends = self._options.rounds, self._options.mend, self._now() + self._options.seconds
        while rounds > 0 and self._specs and self._now() < ends:
            one = await (self._chosen() if self._constrained else self._said())
            if one.reply is not None:
                return replace(one.reply, steps=self._steps)
            if not (one.calls or one.problem):
                break
            results = await self._results(one)
            self._steps += (one.message, Message("tool", results))
            if all(result.error in MISTAKES for result in results):
                mend -= 1
                rounds = rounds if mend >= 0 else 0
            else:
                rounds -= 1
        return replace(await self._ask(self._engine, shape=self._told), steps=self._steps)

    def _now(self) -> float:
        """By the clock where there is one: then it is recorded, and told again the rounds end where they ended."""
        clock: Clock | None = self._given.get("clock")
        return clock.now().timestamp() if clock else asyncio.get_running_loop().time()

    async def _ask(self, engine: Engine, specs: tuple[ToolSpec, ...] = (), shape: Shape | None = None) -> Completion:
        """One request. Its place among the rounds is its sample, so that each draws for itself."""
        asked = self._request.prompt
        prompt = replace(asked, messages=(*asked.messages, *self._steps), tools=specs)
        place, self._asked = self._asked, self._asked + 1
        prompt = written_out(folded(prompt)) if self._constrained else prompt
        return await complete(engine, replace(self._request, prompt=prompt, sample=place, shape=shape))

    @property
    def _told(self) -> Shape | None:
        """Where there is nothing to answer from, a model that is held to shapes makes nothing up."""
        last = self._steps[-1].parts if self._constrained and self._steps else ()
        says = tuple(one.say for one in last if isinstance(one, ToolResult) and one.say)
        return Shape(choices=says) if says else None

    async def _said(self) -> _Round:
        """What the model says by itself: an answer, or calls in it."""
        reply = await self._ask(holding(self._engine, held_back), self._specs)
        said = read(reply.text)
        if said.problem:
            return _Round(words=reply.text, problem=said.problem)
        return _Round(words=said.words, calls=self._numbered(said.calls)) if said.calls else _Round(reply)

    async def _chosen(self) -> _Round:
        """What it writes where it can write nothing but a call, or that it needs none: that is no answer yet."""
        must = sum(one.role == "tool" for one in self._steps) < self._options.least
        reply = await self._ask(
            holding(self._engine, lambda *_: True),
            self._specs,
            shape_of(self._specs, must, self._options.said, self._heard),
        )
        calls = read(reply.text).calls[:1]
        if not calls:
            return _Round(words=reply.text, problem="the call was cut off. Write a shorter one.")
        return _Round() if calls[0].name == NOTHING else _Round(calls=self._numbered(calls))

    def _numbered(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """With ids of nine characters, which is what some templates insist on."""
        first, self._called = self._called, self._called + len(calls)
        return tuple(replace(call, id=f"call{first + place:05}") for place, call in enumerate(calls))

    async def _results(self, one: _Round) -> tuple[ToolResult, ...]:
        """In the order of the calls, which run at once."""
        if one.problem:
            return (ToolResult("", f"Error: {one.problem}", error=UNREADABLE),)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._result(call)) for call in one.calls]
        return tuple(task.result() for task in tasks)

    async def _result(self, call: ToolCall) -> ToolResult:
        for name in self._unsaid(call):
            why = f"Error: the user has not said '{call.arguments[name]}'. Ask the user for the {name}."
            return ToolResult(call.name, why, call.id, NOT_SAID)
        return await self._tools.call(call, self._given)

    def _unsaid(self, call: ToolCall) -> Iterator[str]:
        """What cannot be left out, and is said to have been said, and was not."""
        required = next((one.parameters.get("required", ()) for one in self._specs if one.name == call.name), ())
        for name in (one for one in required if f"{call.name}.{one}" in self._options.said):
            value = str(call.arguments.get(name, "")).strip()
            if value and not any(says(text, value) for text in self._heard):
                yield name

    @property
    def _heard(self) -> tuple[str, ...]:
        """What the user has said, in order."""
        return tuple(one.text for one in self._request.prompt.messages if one.role == "user")
