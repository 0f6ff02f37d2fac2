"""Schedules of which each breaks one promise, and uses of check_schedule that do not fit, with what is said of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, ClassVar

from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import schedule
from vllm_flow.schedules import Constant, Linear, Piecewise, Sum

ANY = count(1)


@dataclass(frozen=True)
class Unregistered:
    """Nobody knows its name."""

    def at(self, now: Now) -> float:
        return 0.5


def unregistered(now: Now) -> float:
    """Nobody knows its name."""
    return 0.5


@schedule("broken-text")
def says_text(now: Now) -> float:
    """Gives no number."""
    return "0.5"  # type: ignore[return-value]


@schedule("broken-late")
def ends_badly(now: Now) -> float:
    """Comes to no number after a while."""
    return 1 / (100 - now.token) if now.token != 100 else math.inf


@schedule("broken-bounds")
@dataclass(frozen=True)
class LeavesItsBounds:
    """Goes on where it said that it stops."""

    bounds: ClassVar = (0.5, 1.0)

    def at(self, now: Now) -> float:
        return max(0.49, 1 - now.token / 100)


@schedule("broken-range")
@dataclass(frozen=True)
class LeavesTheRange:
    """A share above 1."""

    steers: ClassVar = frozenset({"top_p"})

    def at(self, now: Now) -> float:
        return 0.95 + now.turn / 100


@schedule("broken-counter")
def counts(now: Now) -> float:
    """Another value each time."""
    return next(ANY) / 1000


@schedule("broken-state")
@dataclass(frozen=True)
class KeepsWhatNobodyCanSave:
    """Remembers a set."""

    def at(self, now: Now) -> Steered:
        return Steered(0.5, {now.token})


@schedule("broken-keys")
@dataclass(frozen=True)
class KeepsATuple:
    """Knows again what JSON does not give back."""

    def at(self, now: Now) -> Steered:
        return Steered(0.5 if now.state in (None, (1, 2)) else 0.7, (1, 2))


@schedule("broken-changes")
@dataclass(frozen=True)
class ChangesWhatItRemembers:
    """Adds to the list that it was given."""

    def at(self, now: Now) -> Steered:
        seen = now.state if now.state is not None else []
        seen.append(now.token)
        return Steered(0.5, seen)


@schedule("broken-undeclared")
def reads_without_saying(now: Now) -> float:
    """Follows what no engine was asked for."""
    return 0.5 if now.entropy is None else min(1.0, now.entropy / 4)


@schedule("broken-needs", needs=("entrpy",))
def needs_what_nobody_gives(now: Now) -> float:
    """Asks for a signal that there is not."""
    return 0.5


@schedule("broken-steers")
@dataclass(frozen=True)
class SteersWhatDoesNotMove:
    """For a parameter that is a list."""

    steers: ClassVar = frozenset({"stop"})

    def at(self, now: Now) -> float:
        return 0.5


@schedule("broken-forgets", per_token=False)
def forgets(now: Now) -> float:
    """Half of the turn before, which nobody keeps."""
    return 0.8 if now.before is None else now.before / 2


@schedule("broken-restless", per_token=False)
def restless(now: Now) -> float:
    """Moves within an answer."""
    return 1 / (1 + now.token)


@schedule("broken-options")
@dataclass(frozen=True)
class Fine:
    """Nothing is wrong with it."""

    rate: Annotated[float, at_least(0)] = 0.5

    def at(self, now: Now) -> float:
        return self.rate


@schedule("fine-follows", needs=("entropy", "surprise"))
@dataclass(frozen=True)
class Follows:
    """Between bounds, by entropy and surprise and what it gave before."""

    bounds: ClassVar = (0.1, 1.0)

    def at(self, now: Now) -> Steered:
        error = (now.surprise or 2.0) - 2.0 + (now.entropy or 0.0) / 10
        value = min(1.0, max(0.1, (now.before or 0.5) - 0.05 * error))
        return Steered(value, {"errors": [*(now.state or {"errors": []})["errors"][-3:], error]})


@schedule("fine-turns", per_token=False)
@dataclass(frozen=True)
class Turns:
    """Half of the turn before."""

    remembers: ClassVar = True

    def at(self, now: Now) -> float:
        return 0.8 if now.before is None else now.before / 2


@schedule("fine-function")
def fine(now: Now) -> float:
    """Less and less."""
    return 1 / (1 + now.token)


BROKEN: list[tuple[Any, str | None, str]] = [
    (Unregistered(), None, "Unregistered: it is not registered. Put @schedule('name') above the class."),
    (unregistered, None, "unregistered: it is not registered. Put @schedule('name') above the function."),
    (Fine, None, "Fine is a class. Give an instance of it: Fine(…)."),
    (Fine(-1), None, "broken-options.rate: -1 does not fit. It takes a number of 0 or more."),
    (Piecewise(()), None, "piecewise.points: it takes pairs of a place and a value, such as [[0, 1.0], [64, 0.5]]."),
    (
        Fine(),
        "temprature",
        "broken-options: 'temprature' is no parameter that moves. Did you mean 'temperature'? Those: ",
    ),
    (says_text, None, "broken-text: at token 0 of turn 1 it gave '0.5'. Give a number."),
    (ends_badly, None, "broken-late: at token 100 of turn 1 it gave inf. Give a finite number."),
    (
        LeavesItsBounds(),
        None,
        "broken-bounds: at token 51 of turn 1 it gave 0.49. Its bounds are 0.5 and 1. Keep to them, or widen them.",
    ),
    (
        LeavesTheRange(),
        None,
        "broken-range: at token 0 of turn 6 it gave 1.01. top_p takes a number above 0 and at most 1.",
    ),
    (
        Linear(1.0, 1.5, 100),
        "top_p",
        "linear: at token 1 of turn 1 it gave 1.005. top_p takes a number above 0 and at most 1.",
    ),
    (
        counts,
        None,
        "broken-counter: for the same it gave ",
    ),
    (
        KeepsWhatNobodyCanSave(),
        None,
        "broken-state: what it remembers cannot be saved: set cannot be written as JSON. Use texts, numbers, lists and "
        "mappings.",
    ),
    (
        KeepsATuple(),
        None,
        "broken-keys: it goes on otherwise when what it remembers was saved and read. Keep lists for tuples, as JSON has "
        "them.",
    ),
    (
        ChangesWhatItRemembers(),
        None,
        "broken-changes: it changed len(now.state) from 1 to 2. Read it, and leave it as it is.",
    ),
    (
        reads_without_saying,
        None,
        'broken-undeclared: it reads entropy and does not say so. Register it with needs=("entropy",).',
    ),
    (
        needs_what_nobody_gives,
        None,
        "broken-needs: 'entrpy' is no signal. Did you mean 'entropy'? An engine gives: entropy, surprise.",
    ),
    (SteersWhatDoesNotMove(), None, "broken-steers: 'stop' is no parameter that moves. "),
    (
        forgets,
        None,
        "broken-forgets: it reads what it gave in the turn before, which nobody keeps for it. Give its class "
        "`remembers: ClassVar = True`.",
    ),
    (
        restless,
        None,
        "broken-restless: it reads what changes within an answer, and is registered with per_token=False. Leave that out.",
    ),
]
"""A schedule, the parameter it is checked for, and what is said of it, or how that begins."""

FINE: list[Any] = [Fine(), Follows(), Turns(), fine, Constant(0.7), Sum((Linear(1.0, 0.2, 64), Follows()))]
