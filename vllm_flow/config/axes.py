"""Axes: from what a sweep says to the overrides of each of its points, in Hydra's grammar.

An axis is a list of places, each a tuple of overrides; the points are the product of all axes, the last one fastest. A
grid has one axis for each key, a zip is one axis, and so is a list of points. No key may be on two axes: one of them
would be forgotten without a word.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Quote, QuotedString, Transformer
from hydra.errors import HydraException

from vllm_flow.config.overrides import quoted
from vllm_flow.core.errors import ConfigError, Fault, shown
from vllm_flow.sweep.search import Between
from vllm_flow.sweep.settings import Sweep

Place = tuple[str, ...]
Axis = list[Place]
Part = Axis | Override
WORD = re.compile(r"\w[\w./-]*", re.ASCII)
ONE_LENGTH = "all lists of a zip have one length"


def points_of(sweep: Sweep, overrides: Sequence[Override], seed: str) -> list[list[str]]:
    """The overrides of each point. Those given are of the command line: what they do not sweep stands in every point.

    Raises ConfigError with every fault.
    """
    parts = parts_of(sweep, overrides)
    if sweep.samples is None:
        axes = [axis_of(one) for one in parts]
        count = math.prod(map(len, axes))
        found: Iterable[Iterable[Place]] = itertools.product(*axes)
    else:
        count, draw = sweep.samples, random.Random(seed)  # noqa: S311  no secret depends on it
        found = ([_drawn(one, draw) for one in parts] for _ in range(count))
    if count > sweep.max_points:
        problem = f"there would be {count} points. Sweep over less, or allow them: sweep.max_points={count}."
        raise ConfigError([Fault("sweep", problem)])
    return [[override for place in point for override in place] for point in found]


def parts_of(sweep: Sweep, overrides: Sequence[Override]) -> list[Part]:
    """All that a sweep says, in the order in which points go through it. Raises ConfigError with every fault."""
    faults: list[Fault] = []
    swept = _swept(sweep.grid, faults)
    zipped, listed = _zipped(flat(sweep.zip), faults), _listed(sweep.points, faults)
    faults += _said_twice(sweep, overrides)
    if faults:
        raise ConfigError(faults)
    return [*swept, *overrides, *zipped, *listed]


def as_override(value: Any) -> str:
    """A plain value in the grammar of overrides."""
    if isinstance(value, str):
        return value if _is_word(value) else quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_override, value)) + "]"
    return str(value)


def _is_word(text: str) -> bool:
    """Whether it stands for itself without quotes: `greedy` does, `7`, `true` and `a b` do not."""
    try:
        return bool(WORD.fullmatch(text)) and OverridesParser.create().parse_override(f"key={text}").value() == text
    except HydraException:
        return False


def flat(columns: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`sampling: {top_p: …}` is `sampling.top_p: …`: on a command line every dot is a level."""
    found: dict[str, Any] = {}
    for key, value in columns.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return found


def _said_twice(sweep: Sweep, overrides: Sequence[Override]) -> Iterator[Fault]:
    places = {
        "sweep.grid": flat(sweep.grid),
        "sweep.zip": flat(sweep.zip),
        "sweep.points": {key for point in sweep.points if isinstance(point, Mapping) for key in point},
        "the command line": {one.key_or_group for one in overrides},
    }
    for key, count in Counter(key for keys in places.values() for key in keys).items():
        if count > 1:
            where = " and ".join(place for place, keys in places.items() if key in keys)
            yield Fault(key, f"{where} both have it. Leave it out of one of them.")
    swept = {one.key_or_group for one in overrides if one.is_sweep_override()}
    for key, count in Counter(one.key_or_group for one in overrides).items():
        if count > 1 and key in swept:
            yield Fault(
                key, "it is swept, and stands twice on the command line or in hydra.sweeper.params. Leave one out."
            )


def _swept(grid: Mapping[str, Any], faults: list[Fault]) -> list[Part]:
    """A list is an axis; anything else is said in Hydra's words."""
    found: list[Part] = []
    parser = OverridesParser.create()
    for key, values in flat(grid).items():
        if isinstance(values, list | tuple):
            found.append([(f"{key}={as_override(value)}",) for value in values])
            if not values:
                faults.append(Fault(f"sweep.grid.{key}", "there are no values. Give some, or leave the key out."))
            continue
        try:
            found.append(parser.parse_override(f"{key}={values if isinstance(values, str) else as_override(values)}"))
        except HydraException:
            problem = f"{shown(values)} is no sweep. Write a list, range(…), choice(…) or interval(…)."
            faults.append(Fault(f"sweep.grid.{key}", problem))
    return found


def axis_of(one: Part) -> Axis:
    """Every place of it. Raises ConfigError for an interval, which has no end of them."""
    if isinstance(one, list):
        return one
    key = one.get_key_element()
    if not one.is_sweep_override():
        return [(f"{key}={one.get_value_element_as_str()}",)] if not one.is_delete() else [(str(one.input_line),)]
    if not one.is_discrete_sweep():
        problem = "an interval has no end of values. Say how many to draw: sweep.samples=20."
        raise ConfigError([Fault(one.key_or_group, problem)])
    return [(f"{key}={_again(value)}",) for value in one.sweep_iterator()]


def _again(value: Any) -> str:
    """A value as it was written. Hydra's own way to do it forgets the quotes around what `choice(…)` was given."""
    bare = isinstance(value, str) and not _is_word(value)
    return QuotedString(value, Quote.single).with_quotes() if bare else str(Transformer.str(value))


def _drawn(one: Part, draw: random.Random) -> Place:
    if isinstance(one, list) or not isinstance(one.value(), IntervalSweep):
        return draw.choice(axis_of(one))
    bounds = between(one)
    low, high = bounds.low, bounds.high
    number = math.exp(draw.uniform(math.log(low), math.log(high))) if bounds.log else draw.uniform(low, high)
    return bounds.place(round(number) if bounds.whole else number)


def between(one: Override) -> Between:
    """An interval's bounds. Raises ConfigError for bounds that are none."""
    value, key = cast(IntervalSweep, one.value()), one.get_key_element()
    low, high, log = float(value.start or 0), float(value.end or 0), "log" in value.tags
    if not low < high or (log and low <= 0):
        problem = "the low end of an interval stands first, above 0 if it is to be drawn on a log scale."
        raise ConfigError([Fault(one.key_or_group, problem)])
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    return Between(key, low, high, log=log, whole=whole)


def _zipped(columns: Mapping[str, Any], faults: list[Fault]) -> list[Axis]:
    """One axis, or none where there is nothing to zip."""
    lengths: dict[str, int] = {}
    for key, values in columns.items():
        if isinstance(values, list | tuple) and values:
            lengths[key] = len(values)
        else:
            faults.append(Fault(f"sweep.zip.{key}", f"{shown(values)} is no list of values. Write one."))
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        faults.append(Fault("sweep.zip", f"{said}, but {ONE_LENGTH}. Add the values that are missing."))
    if faults or not columns:
        return []
    rows = zip(*columns.values(), strict=True)
    return [[tuple(f"{key}={as_override(value)}" for key, value in zip(columns, row, strict=True)) for row in rows]]


def _listed(points: Sequence[Any], faults: list[Fault]) -> list[Axis]:
    for place, point in enumerate(points):
        if not isinstance(point, Mapping) or not point:
            faults.append(Fault(f"sweep.points.{place}", f"{shown(point)} is no point. Write `key: value` lines."))
    if faults or not points:
        return []
    return [[tuple(f"{key}={as_override(value)}" for key, value in point.items()) for point in points]]
