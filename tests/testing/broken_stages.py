"""Stages of which each breaks one promise, and uses of check_stage that do not fit, with what is said of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Annotated, Any

from tests import fakes
from vllm_flow.core.messages import Text
from vllm_flow.core.options import Constraint
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, Store
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Completion, Context, Score, Turn
from vllm_flow.testing import EchoEngine, MemoryStore, completion, context, turn

ANY = count(1)


@dataclass(frozen=True)
class Unregistered:
    """Nobody knows its name."""

    def run(self, turn: Turn) -> Text:
        return Text(turn.text)


@stage("broken/undefined")
@dataclass(frozen=True)
class Undefined:
    """A port with a type that was never imported."""

    def run(self, turn: Trun) -> Text:  # type: ignore[name-defined]  # noqa: F821
        return Text(turn.text)


@stage("broken/schema")
@dataclass(frozen=True)
class OwnSchema:
    """An option whose range is none."""

    size: Annotated[int, Constraint((("minimum", "one"),))] = 1

    def run(self, turn: Turn) -> Text:
        return Text(turn.text)


@stage("broken/says")
@dataclass(frozen=True)
class SaysAnotherType:
    """Gives what it does not declare."""

    def run(self, turn: Turn) -> Text:
        return turn.text  # type: ignore[return-value]


@stage("broken/changes")
@dataclass(frozen=True)
class ChangesItsInput:
    """Writes into the state of its context."""

    def run(self, context: Context) -> Text:
        context.state["seen"] = True  # type: ignore[index]
        return Text("done")


@stage("broken/score")
@dataclass(frozen=True)
class ScoresNothing:
    """A score that no file can hold."""

    def run(self, reply: Completion) -> tuple[Score, ...]:
        return (Score(1.0), Score(float("nan")))


@stage("broken/ids")
@dataclass(frozen=True)
class ListOfIds:
    """A list where there should be a tuple."""

    def run(self, reply: Completion) -> Completion:
        return replace(reply, token_ids=[1, 2])  # type: ignore[arg-type]


@stage("broken/differs")
@dataclass(frozen=True)
class Differs:
    """Something else each time."""

    def run(self, reply: Completion) -> Completion:
        return replace(reply, text=f"{reply.text} {next(ANY) % 2}")


@stage("broken/counts")
@dataclass(frozen=True)
class Counts:
    """How many turns there are after this one."""

    def run(self, turn: Turn, store: Store) -> Score:
        store.begin(replace(turn, number=store.next_number(turn.conversation)))
        return Score(store.next_number(turn.conversation))


@stage("broken/foresees")
@dataclass(frozen=True)
class ForeseesWrongly:
    """Makes another schedule than it foresees."""

    def run(self, sampling: Sampling) -> Schedule:
        return Schedule(replace(sampling, temperature=0.5))

    def foresee(self, sampling: Sampling) -> Schedule:
        return Schedule(sampling)


@stage("broken/nothing")
@dataclass(frozen=True)
class Fine:
    """Nothing is wrong with it."""

    def run(self, turn: Turn, reply: Completion | None, engine: Engine | None = None) -> Text:
        return Text(turn.text)


HI, ANSWER = turn("hi"), completion("hello")

BROKEN: list[tuple[Any, dict[str, Any], str]] = [
    (Unregistered(), {"turn": HI}, "Unregistered: it is not registered. Put @stage('role/manner') above the class."),
    (Fine, {"turn": HI}, "Fine is a class. Give an instance of it: Fine(…)."),
    (
        fakes.Untyped(),
        {"turn": HI},
        "fake/untyped: 'turn' has no type. Annotate every parameter of run and its return.",
    ),
    (Undefined(), {"turn": HI}, "broken/undefined: name 'Trun' is not defined."),
    (
        fakes.ListOption([1]),
        {"turn": HI},
        "fake/listed: the option 'names': list[int] is no type of an option. Use int, float, str, bool, Literal, tuple[…, ...], "
        "Mapping or a dataclass.",
    ),
    (fakes.Undefined(1), {"turn": HI}, "fake/undefined: name 'Nowhere' is not defined."),
    (
        OwnSchema(),
        {"turn": HI},
        "broken/schema: the schema of its options is none, at properties.size.minimum: 'one' is not of type 'number'. Mend "
        "that annotation.",
    ),
    (
        fakes.Options(mode=1, tags="a b"),  # type: ignore[arg-type]
        {"turn": HI},
        "fake/options.mode: 1 does not fit. It takes a text.\n"
        "fake/options.tags: 'a b' does not fit. It takes a list, each item a text.",
    ),
    (
        fakes.Options("a", fakes.Range(3, 1)),
        {"turn": HI},
        "fake/options.range: low 3 is above high 1. Swap them.",
    ),
    (
        fakes.Options("a", weights={"x": {1}}),  # type: ignore[dict-item]
        {"turn": HI},
        "fake/options: an option cannot be written as JSON: weights.x: set cannot be written as JSON. Use texts, numbers, "
        "lists and mappings.",
    ),
    (
        fakes.Options("a", tags=["b"]),  # type: ignore[arg-type]
        {"turn": HI},
        "fake/options.tags: ['b'] is read from a configuration as ('b',). Set it as that would be.",
    ),
    (Fine(), {"turn": HI}, "broken/nothing.reply: nothing is given. It takes Completion | None."),
    (
        Fine(),
        {"trun": HI, "reply": None, "clock": None},
        "broken/nothing: there is no port 'trun'. Did you mean 'turn'? Ports: engine, reply, turn.\n"
        "broken/nothing: there is no port 'clock'. Ports: engine, reply, turn.\n"
        "broken/nothing.turn: nothing is given. It takes Turn.",
    ),
    (
        Fine(),
        {"turn": "hi", "reply": (ANSWER,)},
        "broken/nothing.turn: str is given. It takes Turn, or a function that makes one.\n"
        "broken/nothing.reply: tuple[Completion, ...] is given. It takes Completion | None, or a function that makes one.",
    ),
    (
        Fine(),
        {"turn": HI, "reply": None, "engine": MemoryStore},
        "broken/nothing.engine: MemoryStore is what the function made. It takes Engine | None, or a function that makes one.",
    ),
    (SaysAnotherType(), {"turn": HI}, "broken/says: run gave str and declares Text. Make the two agree."),
    (
        ChangesItsInput(),
        {"context": context(state={"mood": "calm"})},
        "broken/changes.context: run changed state from {'mood': 'calm'} to {'mood': 'calm', 'seen': True}. "
        "Make a new value instead.",
    ),
    (
        ScoresNothing(),
        {"reply": ANSWER},
        "broken/score: what run gave cannot be recorded: value: nan is no JSON number. Use a finite one or None.",
    ),
    (
        ListOfIds(),
        {"reply": ANSWER},
        "broken/ids: what run gave changes when it is recorded: token_ids from [1, 2] to (1, 2). Give it the type its field "
        "declares.",
    ),
    (
        Differs(),
        {"reply": ANSWER},
        "broken/differs: for equal values text was 'hello 1' and then 'hello 0'. Use nothing but inputs and options, and "
        "take the time from a clock.",
    ),
    (
        Counts(),
        {"turn": HI, "store": MemoryStore()},
        "broken/counts: for equal values value was 2 and then 3. Use nothing but inputs and options, and take the time from "
        "a clock, and give store as a function that makes it.",
    ),
    (
        ForeseesWrongly(),
        {"sampling": Sampling()},
        "broken/foresees: foresee gave sampling.temperature 1.0 where run gave 0.5. Make the two agree.",
    ),
]
"""A stage, what it is given, and what is said of it."""

FINE: list[tuple[Any, dict[str, Any]]] = [
    (Fine(), {"turn": HI, "reply": None}),
    (Fine(), {"turn": HI, "reply": ANSWER, "engine": EchoEngine}),
    (Fine(), {"turn": HI, "reply": ANSWER, "engine": EchoEngine()}),
    (fakes.Options("a", fakes.Range(1), {"x": 2.5}, ("b",)), {"turn": HI}),
    (Counts(), {"turn": HI, "store": MemoryStore}),
]
