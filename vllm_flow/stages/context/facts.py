"""The policy that remembers facts by name, written by the model when a turn leaves the window, or told by the user.

The model is shown each message by itself, and what it writes is believed only in the words of that message: small
models invent, and what is remembered wrongly is wrong for the rest of a conversation. The memory stands before the
question, where a small model heeds it: at turn 100 the embedded one answered 8 of 20 questions right, and 1 of 20 with
the same memory before the history (tests/bench/needle.py), for a fourth more to read anew in each turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from vllm_flow.core.messages import Message, assistant, user
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions, Store
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.segments import LeftOut, Place, Segment, Share
from vllm_flow.core.shape import Shape
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Completion, Context, Turn
from vllm_flow.stages.context.earlier import Exchange, begun, exchanges
from vllm_flow.stages.context.notes import Doubt, Note, Notes, says
from vllm_flow.stages.context.rolling import Memory, Rolling, roll
from vllm_flow.stages.infer import refused

NAME = "memory"
"""Of the segment, and of the key in the conversation's state."""
KNOWN, TOLD = "known", "told"
"""Keys of the memory: the facts, and the number of the turn up to which `remember` was taken."""
ASK = "Which facts does each message tell about its writer? {}, in the words of the message. A question tells none{}."
FORMS = {"lines": ("One a line, as `key: value`", ": then write `none`"), "json": ("Write them as JSON", "")}
EXAMPLES: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("My name is Ada and I work at a bank.", {"name": "Ada", "work": "at a bank"}),
    ("How tall is Mount Everest?", {}),
    ("The keys are in the blue drawer.", {"keys": "in the blue drawer"}),
    ("What should I cook tonight?", {}),
    ("My aunt lives in Quito.", {"aunt lives": "in Quito"}),
    ("Thank you, that helps.", {}),
    ("I am afraid of spiders.", {"afraid": "of spiders"}),
    ("Tell me about the sea.", {}),
)
SCHEMA = {
    "type": "object",
    "properties": {
        "facts": {
            "type": "array",
            "maxItems": 4,
            "items": {
                "type": "object",
                "properties": {
                    "key": {"type": "string", "maxLength": 40},
                    "value": {"type": "string", "maxLength": 80},
                },
                "required": ["key", "value"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["facts"],
    "additionalProperties": False,
}
Form = Literal["lines", "json"]


@stage("context/facts")
@dataclass(frozen=True)
class Facts(Rolling):
    """The newest turns, and facts from all older ones by name: written down by the model, or told by the user.

    A message that has left the window is read once, by itself. Lines that are no `key: value`, and what is not in the
    words of the message, are not believed. Of two facts of one name the newer stays. What a turn says to `remember` is
    taken as it is, before the turn is answered. What was not taken is in the ledger.
    """

    max_tokens: Annotated[int, at_least(1)] = 48
    """How long an answer may be that is asked of the model to remember."""
    place: Place = "last"
    form: Form = "lines"
    """What the model is to write. lines: `key: value`, and other lines count for nothing. json: the engine holds it to
    a JSON Schema; the embedded model finds fewer facts so, and larger ones are helped by it."""
    most: Annotated[int, at_least(1)] = 32
    """How many facts are remembered; the oldest are forgotten first."""
    longest: Annotated[int, at_least(8)] = 120
    """How many characters a fact may have, its name included."""

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(SamplingPlan(), self.schedule, engine)
        if self.form == "json" and "schema" not in engine.capabilities().shapes:
            yield (), "the engine holds no answer to a schema. Set `form: lines`, or choose another engine."

    async def run(self, turn: Turn, store: Store, engine: Engine) -> Context:
        stored, state = begun(turn, store, remembers=True), store.state(turn.conversation)
        before = state.get(NAME, {})
        notes = Notes.of(before.get(KNOWN, ()), self.most, self.longest)

        async def read(memory: Memory, block: Sequence[Exchange], done: int) -> tuple[Memory, Sequence[LeftOut]]:
            said = [(one.place[0], message.text) for one in block for message in one.messages if message.role == "user"]
            shape = Shape.of_schema(SCHEMA) if self.form == "json" else None
            answers = await self.answers(engine, (asking(text, self.form) for _, text in said), done, shape)
            for (number, text), answer in zip(said, answers, strict=True):
                _take(notes, answer, number, partial(_doubt, text))
            return memory, ()

        rolled = await roll(NAME, self, exchanges(turn, stored), before, read)
        for one in (*(earlier.turn for earlier in stored), turn):
            if (number := one.number or 0) > before.get(TOLD, 0):
                for key, value in one.remember.items():
                    notes.write(key, value, number, told=True)
        memory = {**rolled.memory, KNOWN: notes.rows(), TOLD: turn.number} if rolled.memory or notes.known else {}
        return rolled.context({**state, NAME: memory} if memory else state, *self._segments(notes))

    def _segments(self, notes: Notes) -> Iterator[Segment]:
        items, left_out = notes.items(), tuple(notes.left_out(NAME))
        if items or left_out:
            share = Share(overflow="oldest")
            yield Segment(NAME, items, "What is known of the user:", self.place, share, left_out)


def asking(text: str, form: Form = "lines") -> tuple[Message, ...]:
    """The examples, and then the message by itself."""
    first = ASK.format(*FORMS[form])
    shown = [message for said, found in EXAMPLES for message in (user(said), assistant(_written(found, form)))]
    return (user(f"{first}\n\n{EXAMPLES[0][0]}"), *shown[1:], user(text))


def _written(found: Mapping[str, str], form: Form) -> str:
    if form == "json":
        return json.dumps({"facts": [{"key": key, "value": value} for key, value in found.items()]})
    return "\n".join(f"{key}: {value}" for key, value in found.items()) or "none"


def _take(notes: Notes, answer: Completion, turn: int, doubt: Doubt) -> None:
    if answer.parsed is None:
        notes.read(answer.text, turn, doubt)
    elif answer.parsed.problem:
        notes.refused["the model wrote more than `max_tokens` allows"] += 1
    else:
        for row in answer.parsed.value["facts"]:
            notes.take(row["key"], row["value"], turn, doubt)


def remembered(state: Mapping[str, Any], also: Mapping[str, str | None]) -> dict[str, str]:
    """The facts in a conversation's state, with what a turn after it says to remember."""
    memory = state.get(NAME, {})
    notes = Notes.of(memory.get(KNOWN, ()), sys.maxsize, sys.maxsize)
    for key, value in also.items():
        notes.write(key, value, sys.maxsize, told=True)
    return {one.key: one.value for one in notes.known.values() if one.value is not None}


def told(state: Mapping[str, Any]) -> tuple[Note, ...]:
    """Of the facts in a conversation's state those that the user said are to be remembered, the newest last."""
    notes = Notes.of(state.get(NAME, {}).get(KNOWN, ()), sys.maxsize, sys.maxsize)
    return tuple(one for one in notes.known.values() if one.told and one.value is not None)


def _doubt(said: str, _: str, value: str) -> str | None:
    return None if says(said, value) else "not in the words of the message"
