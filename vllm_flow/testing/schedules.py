"""The check of a schedule: it is asked as an answer asks it, token by token, and as a conversation does, turn by turn.

What a run would tell it is made up: signals, some of them missing, as they are at the first token and after a
turn that nobody judged.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.codec import encode
from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.json_text import decode
from vllm_flow.core.moving import SIGNALS, Moving, Now, Steered
from vllm_flow.core.planned import KNOWN, Watched
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.registry import Entry, schedule
from vllm_flow.testing.compare import copied, difference, require
from vllm_flow.testing.options import option_problems, registered

TOKENS, TURNS, VOCABULARY = 200, 40, 50
ROOM = 1e-9
"""What a bound may be passed by in floating point."""


def values_of(moving: Any, /, tokens: int | None = None, *, turns: int | None = None, **known: Any) -> list[float]:
    """What a schedule gives at each token of one answer, or with `turns` at each turn of a conversation.

    The other words are those of `Now`: `entropy=[3.0, 0.5]` gives one to each token, and `feedback=1` the same to all.
    Of `output` a token sees the ids before it. Without a number there are as many as the longest list has, or 8.

    Raises TypeError for a word that Now has not, FlowError for what is no schedule, and whatever the schedule raises.
    """
    if strange := [name for name in known if name not in KNOWN]:
        raise TypeError(f"Now has no '{strange[0]}'.{nearest(strange[0], KNOWN)} It has: {listed(KNOWN)}.")
    lists = {name: one for name, one in known.items() if isinstance(one, list | tuple)}
    count = next((one for one in (turns, tokens) if one is not None), max(map(len, lists.values()), default=8))
    moments = []
    for place in range(count):
        at = {name: one[place] if place < len(one) else None for name, one in lists.items() if name != "output"}
        at |= {"output": tuple(lists["output"][:place])} if "output" in lists else {}
        moments.append(Now(**{**known, **at, **({"token": place} if turns is None else {"turn": place + 1})}))
    return [one.value for one in _in_order(Moving.of(moving), moments)]


def check_schedule(moving: Any, /, parameter: str | None = None) -> list[float]:
    """Ask a schedule as a run does, check what every schedule promises, and give what it said at an answer's tokens.

    It is a registered function, or an instance of a registered class, whose options can be configured. It gives finite
    numbers, also where a signal is missing, within its bounds and the range of `parameter`, or of what it steers; the
    same for the same; remembers only what JSON can hold; leaves `now` as it is; and declares the signals it reads.

    Raises AssertionError with one line for each broken promise, and whatever `at` raises, as it is.
    """
    entry = _entry(moving)
    trial = Trial(entry.name, Moving.of(moving), parameter)
    _refuse([*option_problems(entry.name, trial.moving.made), *trial.misnamed()])
    answer, conversation = _moments(TOKENS, _token), _moments(TURNS, _turn)
    given, turns = trial.run(answer), trial.run(conversation)
    _refuse(trial.found[:1])
    _refuse(trial.unlike(given, answer))
    _refuse(trial.unlike(turns, conversation))
    _refuse([*trial.undeclared(), *trial.restless()])
    return [one.value for one in given]


def _refuse(problems: Iterable[str]) -> None:
    found = "\n".join(problems)
    require(not found, found)


def _entry(moving: Any) -> Entry:
    if not inspect.isfunction(moving):
        return registered(schedule, moving)
    found = schedule.of_function(moving)
    if found is None:
        raise AssertionError(f"{moving.__name__}: it is not registered. Put @schedule('name') above the function.")
    return found


@dataclass
class Trial:
    """A schedule on trial."""

    name: str
    moving: Moving
    parameter: str | None

    def __post_init__(self) -> None:
        self.found: list[str] = []
        self.seen: set[str] = set()

    def misnamed(self) -> Iterator[str]:
        for name in (*(self.moving.steers or ()), *([self.parameter] if self.parameter else [])):
            if name not in RANGES:
                those = f"{nearest(name, RANGES)} Those: {listed(RANGES)}."
                yield f"{self.name}: '{name}' is no parameter that moves.{those}"
        for name in sorted(self.moving.needs - SIGNALS):
            yield f"{self.name}: '{name}' is no signal.{nearest(name, SIGNALS)} An engine gives: {listed(SIGNALS)}."

    def run(self, moments: Sequence[Watched]) -> list[Steered]:
        """What it gives in order, up to its first broken promise, which goes to `found`."""
        given: list[Steered] = []
        for moment in moments:
            remember(self.moving, moment, given[-1] if given else None)
            before = copied(_known(moment))
            moment.seen.clear()
            given.append(self.moving.at(moment))
            self.seen |= moment.seen
            if problem := self._wrong(given[-1].value):
                at = f"at token {moment.token} of turn {moment.turn}"
                self.found.append(f"{self.name}: {at} it gave {given[-1].value!r}. {problem}")
                break
            differing = (difference(one, before[name], f"now.{name}") for name, one in _known(moment).items())
            if changed := next(filter(None, differing), None):
                what = f"it changed {changed.place} from {changed.wanted} to {changed.given}"
                self.found.append(f"{self.name}: {what}. Read it, and leave it as it is.")
                break
        return given

    def _wrong(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "Give a number."
        if not math.isfinite(value):
            return "Give a finite number."
        low, high = self.moving.bounds or (-math.inf, math.inf)
        if not low - ROOM <= value <= high + ROOM:
            return f"Its bounds are {low:g} and {high:g}. Keep to them, or widen them."
        names = [self.parameter] if self.parameter else sorted(self.moving.steers or ())
        wrong = next((name for name in names if not RANGES[name].holds(RANGES[name].rounded(value))), None)
        return f"{wrong} takes {RANGES[wrong].phrase}." if wrong else ""

    def unlike(self, given: Sequence[Steered], moments: Sequence[Watched]) -> Iterator[str]:
        """Whether the same moments give the same, also when what it remembers was saved between."""
        again = list(_in_order(self.moving, [_fresh(one) for one in moments]))[: len(given)]
        if found := difference(tuple(again), tuple(given)):
            what = f"for the same it gave {found.wanted} and then {found.given}"
            yield f"{self.name}: {what}. Use nothing but `now` and options."
            return
        try:
            kept = list(_in_order(self.moving, [_fresh(one) for one in moments], _through_json))[: len(given)]
        except ValueError as error:
            yield f"{self.name}: what it remembers cannot be saved: {str(error).removeprefix('the value: ')}"
            return
        if [one.value for one in kept] != [one.value for one in given]:
            what = "it goes on otherwise when what it remembers was saved and read"
            yield f"{self.name}: {what}. Keep lists for tuples, as JSON has them."

    def undeclared(self) -> Iterator[str]:
        """What it reads and does not say."""
        if missing := sorted((self.seen & SIGNALS) - self.moving.needs):
            needs = "".join(f'"{name}", ' for name in missing).strip()
            yield f"{self.name}: it reads {listed(missing)} and does not say so. Register it with needs=({needs})."
        if not self.moving.per_token and self.seen & {"before", "state"} and not self.moving.remembers:
            what = "it reads what it gave in the turn before, which nobody keeps for it"
            yield f"{self.name}: {what}. Give its class `remembers: ClassVar = True`."

    def restless(self) -> Iterator[str]:
        if not self.moving.per_token and self.seen & {"token", "output", *SIGNALS}:
            what = "it reads what changes within an answer, and is registered with per_token=False"
            yield f"{self.name}: {what}. Leave that out."


def _in_order(
    moving: Moving, moments: Sequence[Now], kept: Callable[[Steered], Steered] = lambda one: one
) -> Iterator[Steered]:
    last: Steered | None = None
    for moment in moments:
        remember(moving, moment, last)
        given = moving.at(moment)
        yield given
        last = kept(given)


def remember(moving: Moving, moment: Now, last: Steered | None) -> None:
    """What it gave before, where anybody keeps that for it."""
    if last is not None and (moving.per_token or moving.remembers):
        moment.before, moment.state = last.value, last.state


def _through_json(given: Steered) -> Steered:
    return Steered(given.value, decode(encode(given.state)))


def _moments(count: int, put: Callable[[Watched, int], None]) -> list[Watched]:
    """Made up, the same each time, and spread evenly. Every third lacks its signals."""
    found = []
    for place in range(count):
        share, told = _share(place), place % 3 != 0
        one = Watched(
            max_tokens=count,
            entropy=8 * share if told else None,
            surprise=-2 * math.log(1 - _share(7 * place)) if told else None,
            feedback=2 * share - 1 if told else None,
        )
        put(one, place)
        found.append(one)
    return found


def _share(place: int) -> float:
    """From 0 to 1, never near the ones before: the multiples of the golden ratio."""
    return place * (math.sqrt(5) - 1) / 2 % 1


def _token(moment: Watched, place: int) -> None:
    moment.token, moment.output = place, tuple(int(VOCABULARY * _share(one)) for one in range(place))


def _turn(moment: Watched, place: int) -> None:
    moment.turn = place + 1


def _known(moment: Watched) -> dict[str, Any]:
    return {name: object.__getattribute__(moment, name) for name in sorted(KNOWN)}


def _fresh(moment: Watched) -> Now:
    return Now(**{**_known(moment), "before": None, "state": None})
