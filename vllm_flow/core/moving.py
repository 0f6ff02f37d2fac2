"""Moving: a sampling parameter that is no number but a function of token, turn, progress or feedback.

Such a function is a registered frozen dataclass with a method `at(now)`, or a plain function of `now`. It holds options
and nothing else: what a controller has to remember it hands back with its value as `Steered`, and finds it in
`now.state` at the next token or turn. So one of them may serve a thousand answers at once, and what it remembers from
turn to turn is data that is saved with the turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from vllm_flow.core import options
from vllm_flow.core.errors import FlowError, shown
from vllm_flow.core.option_checks import own_problems, problems
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import Entry, schedule

Axis = Literal["token", "turn", "progress"]
Signal = Literal["entropy", "surprise"]
"""entropy: of the model's own distribution of the token that is about to be drawn, in nats, before anything changes it.
surprise: negative log-probability of the token drawn before, in nats, in the distribution that it was drawn from."""


SIGNALS: frozenset[str] = frozenset(get_args(Signal))


@dataclass(slots=True)
class Now:
    """What is known when a token is about to be drawn. A schedule reads it and leaves it as it is.

    It is asked about the first token before there are signals, too: where it begins must be known beforehand.
    """

    token: int = 0
    """Which generated token of this answer, from 0."""
    turn: int = 1
    """Which turn of its conversation, from 1."""
    max_tokens: int = 256
    done: float | None = None
    """How much of the task is done, from 0 to 1, as the turn says; None when it says nothing."""
    before: float | None = None
    """The value that was in force at the token before, or, of one that changes by turn, in the turn before; None at
    the first."""
    state: Any = None
    """What this schedule kept with that value: see Steered."""
    entropy: float | None = None
    surprise: float | None = None
    output: Sequence[int] = ()
    """Ids of the tokens that are generated."""
    feedback: float | None = None
    """How the answer before was liked, from -1 to 1; None when nobody said."""
    used_prompt_tokens: int | None = 0
    """Of all prompts of the conversation's turns before; None where the engine did not tell."""
    used_answer_tokens: int | None = 0
    """Of all their answers."""

    @property
    def progress(self) -> float:
        """From 0 to 1: what the turn says of the task, or else how much of `max_tokens` is generated."""
        return min(1.0, self.token / self.max_tokens) if self.done is None else self.done

    def on(self, axis: Axis) -> float:
        """Where this is on an axis, from 0."""
        if axis == "token":
            return self.token
        return self.turn - 1 if axis == "turn" else self.progress


@dataclass(frozen=True, slots=True)
class Steered:
    """What a controller gives: the value, and what it wants to find in `now.state` next time, a JSON value."""

    value: float
    state: Any
    signal: float | None = None
    """What it followed, if it found that out by itself; it is recorded under the schedule's name, with the parameter's
    where several have a schedule of that name."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A schedule as configured: `{linear: {from: 1.0, to: 0.2, over: 256}}`."""

    name: str
    made: Any
    """The registered class with its options."""

    @classmethod
    def of(cls, made: Any) -> Moving:
        """What Python calls a schedule: a Moving, a number, an instance of a registered class, or such a function.

        Raises FlowError for anything else.
        """
        if isinstance(made, Moving):
            return made
        if isinstance(made, int | float) and not isinstance(made, bool):
            return cls._read({"constant": made})
        if (entry := schedule.of(type(made)) or (schedule.of_function(made) if callable(made) else None)) is None:
            what = made.__name__ if hasattr(made, "__name__") else shown(made)
            raise FlowError(f'{what} is no schedule. Register its class or function with @schedule("name").')
        return cls(entry.name, made if isinstance(made, entry.cls) else entry.cls())

    @property
    def per_token(self) -> bool:
        """Whether the value may change within an answer."""
        own = getattr(self.made, "per_token", None)
        return self._entry.per_token if own is None else bool(own)

    @property
    def needs(self) -> frozenset[str]:
        """The signals without which it cannot tell."""
        own = getattr(self.made, "needs", None)
        return frozenset(self._entry.needs if own is None else own)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Between which values it stays, as far as it says so."""
        return cast("tuple[float, float] | None", getattr(self.made, "bounds", None))

    def most(self, start: float) -> float:
        """The largest value that it comes to, as far as it says so; otherwise the one that it begins with."""
        high = start if self.bounds is None else self.bounds[1]
        return high if math.isfinite(high) else start

    @property
    def remembers(self) -> bool:
        """Whether it needs to know in a turn what it gave in the one before, of one that moves from turn to turn."""
        return not self.per_token and bool(getattr(self.made, "remembers", False))

    @property
    def steers(self) -> frozenset[str] | None:
        """The parameters that it is made for; None for any."""
        return cast("frozenset[str] | None", getattr(self.made, "steers", None))

    @property
    def _entry(self) -> Entry:
        return cast(Entry, schedule.find(self.name))

    def at(self, now: Now) -> Steered:
        """The value now. Raises whatever the schedule raises."""
        given = self.made.at(now)
        return given if isinstance(given, Steered) else Steered(given, None)

    @classmethod
    def option_schema(cls) -> dict[str, Any]:
        """Shallow: what stands inside is for the class to check that the name leads to."""
        anything = [{"type": "number"}, {"type": "object"}, {"type": "string"}]
        return {"title": "a number or a schedule", "anyOf": anything}

    @classmethod
    def option_problems(cls, given: Any) -> Iterator[OptionProblem]:
        """Everything wrong with a schedule as written."""
        if isinstance(given, int | float):
            return
        named = _named(given)
        if isinstance(named, OptionProblem):
            yield named
            return
        entry, options_given = named
        found = problems(entry.cls, options_given)
        yield from (OptionProblem((entry.name, *one.path), one.problem) for one in found)
        if not found:
            made: Any = options.build(entry.cls, options_given)
            for path, problem in own_problems(made):
                yield OptionProblem((entry.name, *path), problem)

    @classmethod
    def option_read(cls, given: Any) -> Moving:
        """From what has no `option_problems`."""
        return cls._read({"constant": given} if isinstance(given, int | float) else given)

    @classmethod
    def _read(cls, given: Any) -> Moving:
        named = _named(given)
        if isinstance(named, OptionProblem):
            raise FlowError(named.problem)
        entry, options_given = named
        return cls(entry.name, options.build(entry.cls, options_given))

    def option_written(self, defaults: bool) -> Any:
        inner = options.written(self.made, defaults=defaults)
        return {self.name: inner}


def _named(given: Any) -> tuple[Entry, Mapping[str, Any]] | OptionProblem:
    """The entry that a mapping of one name leads to, and its options; a name by itself has none."""
    if isinstance(given, str):
        found = schedule.find(given)
        return OptionProblem((), schedule.unknown(given)) if found is None else (found, {})
    if not isinstance(given, Mapping) or not given:
        return OptionProblem((), f"{shown(given)} is no schedule. Write {{NAME: {{…}}}}, such as {{linear: {{…}}}}.")
    if len(given) > 1:
        names = " and ".join(map(str, given))
        return OptionProblem((), f"{names} are two schedules in one place: mappings of two files merge. Keep one.")
    ((name, inner),) = given.items()
    entry = schedule.find(str(name))
    if entry is None:
        return OptionProblem((str(name),), schedule.unknown(str(name)))
    return entry, _options(entry, inner)


def _options(entry: Entry, inner: Any) -> Mapping[str, Any]:
    """`constant: 0.7` and `sum: [a, b]` give the first option by itself; nothing at all is no option."""
    if isinstance(inner, Mapping):
        return inner
    first = next(iter(options.schema_of(entry.cls)["properties"]), None)
    return {} if inner is None else {first or "value": inner}
