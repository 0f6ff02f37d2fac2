"""Origins: where each value was written, and who chose it, found by replaying Hydra's merges on line numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vllm_flow.config.swept_origins import as_swept
from vllm_flow.config.written import MAPPING, SCALAR, Keys, Value

Origins = dict[Keys, str]
CHAIN = 4
"""A reference may read a reference, this often."""
READS_MODEL = re.compile(r"\$\{\.*model\b")
CHANGES = re.compile(r"(?<!\\)(?:\\\\)*(\$\{\s*(?:now|run_id|hydra)\s*:[^}]*\})")
"""Resolvers that give something else in another run."""


@dataclass(frozen=True)
class Written:
    """What is known of the values of one composition besides the values."""

    origins: Origins
    """Of every leaf and mapping; what is read through `${…}` has the origin of what it reads."""
    chosen: Origins
    """Of what the user chose: see `RunSpec.chosen`."""
    changing: Origins
    """Of the graph's values that are new in every run: the reference that makes them so."""


def written(values: Iterable[Value], choices: Origins) -> Written:
    """`choices` are the places of groups from which the user chose, each with where that was said."""
    found: dict[Keys, Value] = {}
    for value in values:
        standing = found.get(value.path)
        if value.deleted or (value.kind != MAPPING and standing and standing.kind != SCALAR):  # a list replaces a list
            found = {at: one for at, one in found.items() if at[: len(value.path)] != value.path}
        if not value.deleted:
            found[value.path] = value
    found = as_swept(found)
    references = {path: value.target for path, value in found.items() if value.target}
    chosen = {path: value.origin for path, value in found.items() if value.own} | choices
    texts = {path: value.text for path, value in found.items()}
    if any(READS_MODEL.search(text) for path, text in texts.items() if path[0] != "model"):
        chosen = {path: origin for path, origin in _through(chosen, references).items() if path[0] != "model"}
    return Written(
        _through({path: value.origin for path, value in found.items()}, references),
        chosen,
        {path: match[1] for path, text in texts.items() if path[0] == "graph" and (match := CHANGES.search(text))},
    )


def _through(found: Origins, references: Mapping[Keys, Keys]) -> Origins:
    for _ in range(CHAIN):
        added = {
            (*path, *at[len(target) :]): origin
            for path, target in references.items()
            for at, origin in found.items()
            if at[: len(target)] == target
        }
        if added.keys() <= found.keys():
            break
        found = {**added, **found}
    return found
