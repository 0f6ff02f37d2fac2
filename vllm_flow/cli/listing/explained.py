"""Explained: what `about` tells of a name, in words for a screen or a pipe."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_flow.cli.words import is_terminal, table, visible
from vllm_flow.core.describe import paragraphs
from vllm_flow.core.errors import shown

VALUES = ("value", "made_by", "from", "type")
About = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together."""

    text: str
    indent: int = 0
    style: str = ""


GAP = Block("")


def explain(told: Sequence[About]) -> None:
    """Everything about each name. A file that several of them show is shown once."""
    seen: set[str] = set()
    for place, one in enumerate(told):
        if place:
            print()
        for block in _blocks(one, seen):
            _say(block)
        if one.get("values"):
            print()
            table(([line[key] for key in VALUES] for line in one["values"]), ("value", "made by", "from", "type"))
        if command := _command(one):
            _say(Block(f"\nvllm-flow {command}", style="cyan"))
        for problem in filter(None, (one.get("problem"), *one.get("problems", ()))):
            print(f"warning: {one['name']}: {visible(problem)}", file=sys.stderr)


def _say(block: Block) -> None:
    """Broken by rich on a terminal, and left as it is in a pipe."""
    text = visible(block.text)
    if not text or not is_terminal(sys.stdout):
        print("\n".join(f"{' ' * block.indent}{line}".rstrip() for line in text.split("\n")))
        return
    from rich.console import Console
    from rich.text import Text

    screen = Console(highlight=False)
    for line in Text(text, block.style).wrap(screen, screen.width - block.indent):
        screen.print(Text(" " * block.indent) + line)


def _blocks(one: About, seen: set[str]) -> Iterator[Block]:
    yield Block(f"{one['name']}: {one['kind'].removesuffix('s')}", style="bold")
    yield Block(paragraphs(one.get("summary") or one.get("doc") or "Nobody has written what it is for."))
    if one.get("details"):
        yield from (GAP, Block(paragraphs(one["details"])))
    if "takes" in one:
        yield from _key(one)
    if one.get("makes"):
        yield from _ports(one)
    if one.get("options"):
        yield from (GAP, Block("options"))
        for option in one["options"]:
            yield from _option(option)
    if "registers" in one:
        yield from (GAP, Block(f"imported from {one['module']}"))
        yield from (Block(f"{kind}: {', '.join(names)}", 2) for kind, names in one["registers"].items())
    if "yaml" in one:
        yield from _file(one, seen)
    if one.get("example") and one["example"]["file"] not in seen:
        yield from _example(one["example"])


def _ports(one: About) -> Iterator[Block]:
    yield GAP
    if reads := one["reads"]:
        optional = " (may be left out)" if one["kind"] == "functions" else " (if there is one)"
        ports = (f"{name}: {kind}{optional if name in one['optional'] else ''}" for name, kind in reads.items())
        yield Block(f"asks for  {', '.join(ports)}")
    verb = "opens" if one["kind"] == "resources" else "makes"
    yield Block(f"{verb}     {'nothing: it is kept for its effect' if one['makes'] == 'None' else one['makes']}")


def _option(option: About) -> Iterator[Block]:
    yield Block(f"{option['name']}: {_takes(option)}", 2)
    if option["doc"]:
        yield Block(paragraphs(option["doc"]), 6)


def _takes(option: About) -> str:
    unless_given = "required" if option["required"] else f"default {shown(option['default'])}"
    return f"{option['takes']}; {unless_given}"


def _key(one: About) -> Iterator[Block]:
    yield from (GAP, Block(f"takes {_takes(one)}"))
    if one["choices"]:
        written = ", ".join(f"{choice} {_short(value)}" for choice, value in one["choices"].items())
        yield Block(f"set by {one['name'].partition('.')[0]}: {written}")


def _short(value: Any) -> str:
    """A schedule by its name alone."""
    return str(next(iter(value))) if isinstance(value, Mapping) and len(value) == 1 else shown(value)


def _file(one: About, seen: set[str]) -> Iterator[Block]:
    seen.add(one["file"])
    yield from (GAP, Block(f"file    {one['file']}"))
    if one.get("sample"):
        yield Block(f"sample  {one['sample']}")
    yield from (GAP, Block(one["yaml"], 2, "cyan"))


def _example(example: About) -> Iterator[Block]:
    yield from (GAP, Block(f"example from {example['file']}" if example["file"] else "example"))
    yield Block(example["yaml"], 2, "cyan")


def _command(one: About) -> str:
    """What to type next."""
    if "takes" in one:
        return f"{one['name']}=VALUE"
    overrides = (one.get("example") or {}).get("overrides", ())
    return f"check {shlex.join(overrides)}" if overrides else str(one.get("choose", ""))
