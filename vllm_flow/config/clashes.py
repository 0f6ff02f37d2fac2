"""Clashes: values that cannot both stand, found before OmegaConf merges them and forgets one without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vllm_flow.config.written import MAPPING, SCALAR, Keys, Value
from vllm_flow.core.errors import Fault


def clashes(values: Iterable[Value]) -> list[Fault]:
    """A list where another file has a mapping, or a value below a `${…}`, which would drop all that is read there."""
    standing: dict[Keys, Value] = {}
    faults: list[Fault] = []
    refused: list[Keys] = []
    for value in values:
        if value.deleted or any(value.path[: len(path)] == path for path in refused):
            continue
        found = [*_below_reference(value, standing), *_other_kind(value, standing)]
        if found:
            faults += found
            refused.append(value.path)
        else:
            standing[value.path] = value
    return faults


def _below_reference(value: Value, standing: Mapping[Keys, Value]) -> Iterator[Fault]:
    whole = value.kind == MAPPING
    for length in range(1, len(value.path) + whole):
        reference = standing.get(value.path[:length])
        if reference is not None and reference.target:
            target = ".".join((*reference.target, *value.path[length:]))
            problem = (
                f"'{'.'.join(reference.path)}' is {reference.text}, which this would replace. Write {target} instead."
            )
            yield Fault(".".join(value.path), problem, value.origin)
            return


def _other_kind(value: Value, standing: Mapping[Keys, Value]) -> Iterator[Fault]:
    before = standing.get(value.path)
    if before is None or before.kind == value.kind or SCALAR in (before.kind, value.kind):
        return
    problem = f"this is {value.kind}, but {before.origin} has {before.kind} here. Write {before.kind}."
    yield Fault(".".join(value.path), problem, value.origin)
