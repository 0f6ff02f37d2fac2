"""Remembering: a schedule that has to know what was is refused in a graph that saves nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType

from vllm_flow.core.errors import listed
from vllm_flow.core.ports import fits
from vllm_flow.core.refusals import Foreseen
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context


def forgotten(stages: Iterable[Foreseen]) -> Iterator[tuple[Path, str]]:
    """Path and text of each schedule that keeps something which no stage saves, or is not given what was saved."""
    stages = tuple(stages)
    for one in stages:
        if not isinstance(one.value, Schedule) or not one.value.keeps:
            continue
        what = f"{listed(one.value.keeps)} has to be remembered from turn to turn"
        if not any(fits(kind, Context) for kind in _given(one, stages)):
            yield one.path, f"{what}, and no context reaches this node. Use a pipeline with one, such as dialogue."
        elif not _saved(one, stages):
            yield one.path, f"{what}, and nothing saves it. Wire it to context/update, as its `schedule`."


def _given(one: Foreseen, stages: Iterable[Foreseen]) -> Iterator[object]:
    """The types of the values that the node reads."""
    read = set(one.node.sources.values())
    yield from (other.node.makes for other in _beside(one, stages) if other.node.name in read)


def _saved(one: Foreseen, stages: Iterable[Foreseen]) -> bool:
    """Whether an effect reads it, or a schedule that is made of it."""
    readers = [other for other in _beside(one, stages) if one.node.name in other.node.sources.values()]
    made = [other for other in readers if other.node.makes is not NoneType and fits(other.node.makes, Schedule)]
    return any(other.node.makes is NoneType for other in readers) or any(_saved(other, stages) for other in made)


def _beside(one: Foreseen, stages: Iterable[Foreseen]) -> Iterator[Foreseen]:
    """The nodes of the same graph."""
    return (other for other in stages if other.path[:-1] == one.path[:-1])
