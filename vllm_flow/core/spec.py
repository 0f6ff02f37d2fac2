"""RunSpec: the whole configuration of a run as plain data, and where each piece of it was written.

Hydra composes, then everything below works on this: it can be made from Python with equal rights, hashed, compared and
stored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vllm_flow.core.options import at_least
from vllm_flow.core.values import nothing

Path = tuple[str, ...]
ABOUT = {"about": "the configuration, and no part of it"}


@dataclass(frozen=True, eq=False)
class RunSpec:
    """Equal specs have equal fingerprints; where they were written does not count."""

    name: str
    """The pipeline's name."""
    graph: Mapping[str, Any]
    output: str
    resources: Mapping[str, Any] = field(default_factory=nothing)
    sampling: Mapping[str, Any] = field(default_factory=nothing)
    input: Mapping[str, Any] = field(default_factory=nothing)
    """Where turns come from: `{use: input/file, …}`; empty when the caller makes the turns."""
    seed: int = 0
    concurrency: Annotated[int, at_least(1)] = 256
    """How many turns may be in flight at once."""
    repeat: Annotated[int, at_least(1)] = 1
    """How often each turn of the input is answered, as independent samples."""
    pipelines: Mapping[str, Mapping[str, Any]] = field(default_factory=nothing)
    """`{graph, output}` of each pipeline that a node uses, by name."""
    metrics: Mapping[str, Any] = field(default_factory=nothing)
    """What is measured of each answer beside the usual: `{name: {use: answer/exact, …}}`."""
    plugins: Mapping[str, str] = field(default_factory=nothing)
    """User code: label to a Python file or an installed module."""
    origins: Mapping[Path, str] = field(default_factory=dict, repr=False, metadata=ABOUT)
    """YAML path to `file:line` or `command line`."""
    chosen: Mapping[Path, str] = field(default_factory=dict, repr=False, metadata=ABOUT)
    """What the user chose, on the command line or in files of their own, and where. A group stands at the place where
    its values go, and a model in the resource that reads it; one that none reads stays under `model`."""
    changing: Mapping[Path, str] = field(default_factory=dict, repr=False, metadata=ABOUT)
    """Values of graphs that are new in every run, each with the reference that makes it so: `${now:…}`."""
    choices: Mapping[str, str] = field(default_factory=dict, repr=False, metadata=ABOUT)
    """Group to the choice that was made, such as `experiment: cold`."""
    offered: Mapping[str, str] = field(default_factory=dict, repr=False, metadata=ABOUT)
    """What the project's own files would register: name to its kind, such as `stage`. For messages."""

    project: str = field(default="", repr=False, metadata=ABOUT)
    """The folder that the project's files lie in; empty for the working directory."""

    def content(self) -> dict[str, Any]:
        """What is run, as plain JSON values; where it came from is left out, and so is a `repeat` of once."""
        kept = [one.name for one in dataclasses.fields(self) if not one.metadata]
        if self.repeat == 1:
            kept.remove("repeat")
        return {name: _plain(getattr(self, name)) for name in kept}

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.content())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunSpec) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def origin(self, path: Path) -> str:
        """Where `path`, or the nearest thing around it, was written; empty when nobody knows."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path[:-1]
        return ""


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a spec's content, in hex."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
