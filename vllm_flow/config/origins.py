"""Origins: where each value was written, found by replaying Hydra's merges on line numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vllm_flow.config.written import Path, Value

Origins = dict[Path, str]
CHAIN = 4
"""A reference may read a reference, this often."""


def origins_of(values: Iterable[Value]) -> Origins:
    """The origin of every leaf and mapping; what is read through `${…}` has the origin of what it reads."""
    found: Origins = {}
    references: dict[Path, Path] = {}
    for value in values:
        if value.deleted:
            found = {at: origin for at, origin in found.items() if at[: len(value.path)] != value.path}
            continue
        found[value.path] = value.origin
        references.pop(value.path, None)
        if value.target:
            references[value.path] = value.target
    return _through(found, references)


def _through(found: Origins, references: Mapping[Path, Path]) -> Origins:
    for _ in range(CHAIN):
        added = {
            (*path, *at[len(target) :]): origin
            for path, target in references.items()
            for at, origin in found.items()
            if len(at) > len(target) and at[: len(target)] == target
        }
        if added.keys() <= found.keys():
            break
        found = {**added, **found}
    return found
