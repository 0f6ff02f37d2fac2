"""The values in force as YAML, each with the file and line it came from in a comment behind it.

Our own few lines instead of PyYAML's emitter, because that knows no comments; each scalar is still written by PyYAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from rich.cells import cell_len

from vllm_flow.cli.words import printed
from vllm_flow.core.spec import Path, RunSpec

FURTHEST = 60
"""Comments stand in one column, but not for longer lines than this."""
LONGEST_KEY = 1024
"""What YAML takes for `key: value`; a longer key must say that it is one."""
Line = tuple[str, str]
"""A line of YAML, and where its value was written."""


def with_origins(spec: RunSpec, *, ascii_only: bool = False) -> str:
    """YAML that loads back to `spec.content()`."""
    lines = list(_Lines(spec, ascii_only).of_mapping(spec.content(), (), ""))
    widths = [cell_len(text) for text, _ in lines]
    column = max((width for width in widths if width <= FURTHEST), default=0)
    return "".join(
        f"{text}{' ' * max(0, column - width)}  # {printed(origin, ascii_only=ascii_only)}\n" if origin else f"{text}\n"
        for (text, origin), width in zip(lines, widths, strict=True)
    )


class _Lines:
    def __init__(self, spec: RunSpec, ascii_only: bool) -> None:
        self.spec = spec
        self.ascii_only = ascii_only

    def of_mapping(self, values: Mapping[str, Any], path: Path, indent: str) -> Iterator[Line]:
        for key, value in values.items():
            name = self.scalar(key)
            head = f"{indent}{name}:" if len(name) < LONGEST_KEY else f"{indent}? {name}\n{indent}:"
            yield from self.entry(head, value, (*path, key), indent)

    def entry(self, head: str, value: Any, path: Path, indent: str) -> Iterator[Line]:
        """A value behind `key:` or `-`, whose own lines start at `indent`."""
        if isinstance(value, dict) and value:
            yield head, ""
            yield from self.of_mapping(value, path, f"{indent}  ")
        elif isinstance(value, list) and value:
            yield head, ""
            for index, item in enumerate(value):
                yield from self.entry(f"{indent}  -", item, (*path, str(index)), f"{indent}  ")
        else:
            first, *others = self.block(value, indent) or [self.scalar(value)]
            yield f"{head} {first}", self.spec.origin(path)
            yield from ((line, "") for line in others)

    def block(self, value: Any, indent: str) -> list[str]:
        """The lines of a text of several lines, as one reads them; none where YAML has no way to write it so."""
        if not isinstance(value, str) or "\n" not in value or (self.ascii_only and not value.isascii()):
            return []
        body = value.removesuffix("\n")
        if not all(line.replace("\t", "").isprintable() for line in body.split("\n")):
            return []
        head = "|" if value.endswith("\n") else "|-"
        lines = [head, *(f"{indent}  {line}" if line else "" for line in body.split("\n"))]
        try:
            same = yaml.safe_load("\n".join([f"- {head}", *lines[1:], ""])) == [value]
        except yaml.YAMLError:  # a tab or a space at its start
            return []
        return lines if same else []

    def scalar(self, value: Any) -> str:
        """One line, in which everything can be seen."""
        odd = isinstance(value, str) and not value.isprintable()
        plain, style = not odd and not self.ascii_only, '"' if odd else None
        text = yaml.safe_dump(value, width=float("inf"), allow_unicode=plain, default_style=style)
        return text.removesuffix("\n").removesuffix("\n...")
