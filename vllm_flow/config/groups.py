"""Groups: what can be chosen, read from the first lines of the files, because `ls` must not wait for Hydra.

Line 1 of a group's file is `# @package PLACE`; the next comment says in one line what the choice is for. Between them a
line for the editor may stand, which names the schema of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vllm_flow.config.layers import LOCAL, TOP_FOLDERS, Layer, layers

PACKAGE_LINE = re.compile(r"#\s*@package\s+(\S+)\s*")
EDITOR_LINE = re.compile(r"#\s*yaml-language-server\s*:.*")
GLOBAL = "_global_"
HEAD_BYTES = 2048
NO_GROUPS = (("hydra",), (LOCAL,))
OPTIONAL = frozenset({"documents", "experiment", "facts", "reader", "tagger"})
"""Groups from which nothing may be chosen: `experiment=null`."""
IMPLIED_INPUT = {"input.path": "file", "input.text": "text", "input.image": "text", "input.audio": "text"}
"""Keys that choose an input where nobody else does. The first that is given counts: the others fit both."""


@dataclass(frozen=True, slots=True)
class Group:
    """The choices of one group, and the place where its values go."""

    name: str
    package: str
    """Dotted path, `_global_` for files that write at the top."""
    comments: dict[str, str] = field(default_factory=dict)
    """Choice to its one-line comment."""

    @property
    def place(self) -> tuple[str, ...]:
        return place_of(self.package)


def place_of(package: str | None) -> tuple[str, ...]:
    """A package as a path; empty when the file writes at the top."""
    return tuple(part for part in (package or "").split(".") if part and part != GLOBAL)


def header(text: str) -> tuple[str | None, str]:
    """The package of line 1, or None, and the first comment after it that is for people, or nothing."""
    lines = text.splitlines()
    found = PACKAGE_LINE.fullmatch(lines[0]) if lines else None
    for line in lines[1:] if found else lines:
        if line.strip() and not EDITOR_LINE.fullmatch(line):
            return found and found[1], line.lstrip("# ").rstrip() if line.startswith("#") else ""
    return found and found[1], ""


def read_groups() -> dict[str, Group]:
    """Every group of every layer by name. The shipped files say where a group's values go."""
    found: dict[str, Group] = {}
    for layer in reversed(layers()):  # the shipped files first, the project's comments over theirs
        for group, choice, head in sorted(_heads(layer)):
            package, comment = header(head)
            known = found.setdefault(group, Group(group, package or group.replace("/", ".")))
            known.comments[choice] = comment
    return found


def _heads(layer: Layer) -> list[tuple[str, str, str]]:
    """Group, choice and the first lines of each file of a layer."""
    found = []
    for base, prefix in ((layer.root / "conf", ""), *((layer.root / at, name) for name, at in TOP_FOLDERS.items())):
        for path in base.rglob("*.yaml"):
            parts = path.relative_to(base).parent.parts
            group = "/".join((prefix, *parts) if prefix else parts)
            if group and parts[:1] not in NO_GROUPS:
                with path.open("rb") as file:
                    head = file.read(HEAD_BYTES).decode("utf-8-sig", errors="replace")
                found.append((group, path.stem, head))
    return found
