"""The space of a search: what a sweep says, as dimensions in which points are proposed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from vllm_flow.config.axes import Part, axis_of, between, parts_of
from vllm_flow.core.errors import ConfigError, Fault
from vllm_flow.sweep.search import Among, Between, Dimension
from vllm_flow.sweep.settings import Sweep


def space_of(sweep: Sweep, overrides: Sequence[Override]) -> tuple[tuple[str, ...], list[Dimension]]:
    """What stands in every point, and what is searched. Raises ConfigError with every fault."""
    if faults := list(_faults(sweep)):
        raise ConfigError(faults)
    fixed: list[str] = []
    space: list[Dimension] = []
    for one in parts_of(sweep, overrides):
        found = _dimension(one)
        if isinstance(found, Among) and len(found.places) == 1:
            fixed += found.places[0]
        else:
            space.append(found)
    if not space:
        problem = "there is nothing to search. Sweep over something: sampling.temperature=interval(0,1)."
        raise ConfigError([Fault("sweep.search", problem)])
    return tuple(fixed), space


def probes(fixed: Sequence[str], space: Sequence[Dimension]) -> Iterator[list[str]]:
    """Points to be checked before the first is proposed: every end of a dimension, the others at their first."""
    ends = [_ends(one) for one in space]
    first = [places[0] for places in ends]
    for number, places in enumerate(ends):
        for place in places if number == 0 else places[1:]:
            chosen = [*first[:number], place, *first[number + 1 :]]
            yield [*fixed, *(line for lines in chosen for line in lines)]


def _faults(sweep: Sweep) -> Iterator[Fault]:
    if sweep.samples is not None:
        yield Fault("sweep.samples", "points are drawn or searched, and not both. Leave it or sweep.search out.")
    if sweep.baseline:
        yield Fault("sweep.baseline", "a search does not know its points beforehand. Leave it out.")
    trials = sweep.search.trials if sweep.search else 0
    if trials > sweep.max_points:
        problem = f"there would be {trials} points. Search less, or allow them: sweep.max_points={trials}."
        yield Fault("sweep.search.trials", problem)


def _dimension(one: Part) -> Dimension:
    if isinstance(one, Override):
        value = one.value()
        if isinstance(value, IntervalSweep):
            return between(one)
        numbers = sorted(cast(Iterator[float], one.sweep_iterator())) if isinstance(value, RangeSweep) else []
        if len(numbers) > 1:
            return _range(one.get_key_element(), numbers)
    axis = axis_of(one)
    keys = dict.fromkeys(line.partition("=")[0] for place in axis for line in place)
    return Among(",".join(keys), tuple(dict.fromkeys(axis)))


def _range(key: str, numbers: Sequence[float]) -> Between:
    whole = all(isinstance(number, int) for number in numbers)
    return Between(key, numbers[0], numbers[-1], numbers[1] - numbers[0], whole=whole)


def _ends(one: Dimension) -> list[tuple[str, ...]]:
    if isinstance(one, Between):
        return [one.place(int(number) if one.whole else number) for number in (one.low, one.high)]
    return list(one.places)
