"""Rolling: what leaves the window is read once, in blocks, and what was made of it is in the conversation's state.

A block at a time, so that the model is asked only when enough has left, and so that the prompt begins for as many turns
as it did, where a prefix cache finds it again. What could not be read stays as it was said, up to a bound, and is tried
again in the next turn: nothing is taken for known that was not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from vllm_flow.core.errors import EngineError, told
from vllm_flow.core.messages import Message
from vllm_flow.core.options import at_least
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import HISTORY, LeftOut, Place, Segment, Share
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Completion, Context, Prompt, Request
from vllm_flow.stages.context.earlier import Exchange, left_out, without
from vllm_flow.stages.infer import complete

THROUGH = "through"
"""The key of a memory under which the place of the last exchange stands that was read into it."""
NOT_YET = (0, 0)
Memory = Mapping[str, Any]
"""JSON values."""


@dataclass(frozen=True)
class Rolling:
    """The options of a policy that reads what leaves its window."""

    turns: Annotated[int, at_least(0)] = 6
    """How many of the newest turns stay as they were said, at least."""
    every: Annotated[int, at_least(1)] = 3
    """How many turns more there have to be before so many, the oldest ones, are read and leave the prompt."""
    max_tokens: Annotated[int, at_least(1)] = 128
    """How long an answer may be that is asked of the model to remember."""
    place: Place = "first"
    """Where what is remembered stands. first: before the history, where a prefix cache finds it again. last: before the
    question, where small models heed it more, at the cost of reading it and the turn before anew in each turn."""

    @property
    def schedule(self) -> Schedule:
        """Greedy: what is remembered is no matter of chance."""
        return Schedule(Sampling(temperature=0.0, max_tokens=self.max_tokens))

    @property
    def most_kept(self) -> int:
        """How many turns stay as they were said when they cannot be read."""
        return self.turns + 2 * self.every

    async def answer(
        self, engine: Engine, messages: Sequence[Message], sample: int, shape: Shape | None = None
    ) -> Completion:
        """Of the model, to a prompt of its own; `sample` numbers those of one turn."""
        return await complete(engine, Request(Prompt(tuple(messages)), self.schedule, sample=sample, shape=shape))

    async def answers(
        self, engine: Engine, prompts: Iterable[Sequence[Message]], sample: int, shape: Shape | None = None
    ) -> list[Completion]:
        """To several prompts, all in flight at once; the first is number `sample`."""
        try:
            async with asyncio.TaskGroup() as group:
                asked = enumerate(prompts, sample)
                tasks = [group.create_task(self.answer(engine, one, number, shape)) for number, one in asked]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


Read = Callable[[Memory, Sequence[Exchange], int], Awaitable[tuple[Memory, Sequence[LeftOut]]]]
"""(memory, block, how many exchanges were read before it in this turn) → the memory after it, and what it lacks of it.

Raises EngineError when the block could not be read.
"""


@dataclass(frozen=True, slots=True)
class Rolled:
    """What has become of the turns before this one."""

    memory: Memory
    kept: tuple[Exchange, ...]
    """As they were said."""
    gone: tuple[Exchange, ...]
    """All others."""
    left_out: tuple[LeftOut, ...]
    step: int

    def context(self, state: Mapping[str, Any], *segments: Segment) -> Context:
        messages = without(self.gone, self.kept)
        share = Share(priority=HISTORY.priority, overflow="oldest", step=self.step)
        return Context(messages, state=state, left_out=self.left_out, segments=segments, share=share)


async def roll(name: str, policy: Rolling, earlier: Sequence[Exchange], memory: Memory, read: Read) -> Rolled:
    """Read what has left the window, with what was read before; `name` is what the memory is called."""
    through = tuple(memory.get(THROUGH, NOT_YET))
    unread = [one for one in earlier if one.place > through]
    lacking: list[LeftOut] = []
    done, failure = 0, None
    while len(unread) - done >= policy.turns + policy.every and failure is None:
        block = unread[done : done + policy.every]
        try:
            found, said = await read(memory, block, done)
        except EngineError as error:
            failure = told(error)
        else:
            memory, done = {**found, THROUGH: list(block[-1].place)}, done + policy.every
            lacking += said
    kept = unread[done:]
    lost = kept[: -policy.most_kept] if failure else []
    kept = kept[len(lost) :]
    known = earlier[: len(earlier) - len(lost) - len(kept)]
    why = f"older than the newest {len(kept)} turns: read into the {name}"
    lacking = [*left_out(known, why), *lacking]
    if failure:
        lacking += left_out(lost, f"older than the newest {len(kept)} turns, and not read into the {name}")
        lacking.append(LeftOut(name, "updates", 1, f"it could not be brought up to date: {failure}"))
    return Rolled(memory, tuple(kept), (*known, *lost), tuple(lacking), policy.every)


def transcript(block: Sequence[Exchange]) -> str:
    """What both sides said, a line each; rules are not said by either."""
    lines = (
        f"{message.role.capitalize()}: {' '.join(message.shown.split())}"
        for one in block
        for message in one.messages
        if message.role != "system"
    )
    return "\n".join(lines)
