"""Axes: from what a sweep says to the overrides of each of its points, in Hydra's grammar.

An axis is a list of places, each a tuple of overrides; the points are the product of all axes, the last one fastest. A
grid has one axis for each key, a zip is one axis, and so is a list of points.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from vllm_flow.config.overrides import quoted
from vllm_flow.core.errors import ConfigError, Fault, shown
from vllm_flow.sweep.settings import Sweep

Place = tuple[str, ...]
Axis = list[Place]
ONE_LENGTH = "all lists of a zip have one length"


def points_of(sweep: Sweep, overrides: Sequence[Override], seed: str) -> list[list[str]]:
    """The overrides of each point. Those given are of the command line: what they do not sweep stands in every point.

    Raises ConfigError with every fault.
    """
    faults: list[Fault] = []
    grid = [*_swept(sweep.grid, faults), *overrides]
    zipped, listed = _zipped(sweep.zip, faults), _listed(sweep.points, faults)
    if faults:
        raise ConfigError(faults)
    if sweep.samples is None:
        axes = [*(_axis(one) for one in grid), *zipped, *listed]
        count = math.prod(map(len, axes))
        found: Iterable[Iterable[Place]] = itertools.product(*axes)
    else:
        count, draw = sweep.samples, random.Random(seed)  # noqa: S311  no secret depends on it
        found = ([_drawn(one, draw) for one in grid] + [draw.choice(axis) for axis in (*zipped, *listed)]
                 for _ in range(count))  # fmt: skip
    if count > sweep.max_points:
        problem = f"there would be {count} points. Sweep over less, or allow them: sweep.max_points={count}."
        raise ConfigError([Fault("sweep", problem)])
    return [[override for place in point for override in place] for point in found]


def as_override(value: Any) -> str:
    """A plain value in the grammar of overrides."""
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_override, value)) + "]"
    return str(value)


def _swept(grid: Mapping[str, Any], faults: list[Fault]) -> Iterator[Override]:
    parser = OverridesParser.create()
    for key, values in grid.items():
        if isinstance(values, list | tuple):
            text = f"choice({','.join(map(as_override, values))})" if values else ""
        else:
            text = values if isinstance(values, str) else as_override(values)
        if not text:
            faults.append(Fault(f"sweep.grid.{key}", "there are no values. Give some, or leave the key out."))
            continue
        try:
            yield parser.parse_override(f"{key}={text}")
        except HydraException as error:
            problem = (
                f"{shown(values)} is no sweep ({str(error).splitlines()[0]}). Write a list, range(…) or choice(…)."
            )
            faults.append(Fault(f"sweep.grid.{key}", problem))


def _axis(one: Override) -> Axis:
    key = one.get_key_element()
    if not one.is_sweep_override():
        return [(f"{key}={one.get_value_element_as_str()}",)] if not one.is_delete() else [(str(one.input_line),)]
    if not one.is_discrete_sweep():
        problem = "an interval has no end of values. Say how many to draw: sweep.samples=20."
        raise ConfigError([Fault(one.key_or_group, problem)])
    return [(f"{key}={value}",) for value in one.sweep_string_iterator()]


def _drawn(one: Override, draw: random.Random) -> Place:
    value = one.value()
    if not isinstance(value, IntervalSweep):
        return draw.choice(_axis(one))
    low, high = float(value.start or 0), float(value.end or 0)
    log = "log" in value.tags
    number = math.exp(draw.uniform(math.log(low), math.log(high))) if log else draw.uniform(low, high)
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    return (f"{one.get_key_element()}={round(number) if whole else round(number, 6)}",)


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
