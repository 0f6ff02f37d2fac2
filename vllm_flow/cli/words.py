"""The words of a command line: our own flags apart from overrides, and how text reaches the terminal safely."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

# Everything below a space but newline and tab, and the C1 range: a model must not be able to move the cursor.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

OTHER_KINDS = ("stages", "resources", "sources", "measures", "schedules", "functions", "plugins", "keys", "words")
"""What `ls` lists beside the groups of the configuration."""


def kind_of(group: str) -> str:
    """How `ls` calls the choices of a group: `models`. A project may have a group `stage`, which keeps its name."""
    plural = group if group.endswith(("s", "media")) else f"{group}s"
    return group if plural in OTHER_KINDS else plural


def take_flags(words: Sequence[str], known: Mapping[str, str]) -> tuple[set[str], list[str]]:
    """Split `words` into flags and the rest. `known` maps each spelling to a flag's name. Raises ConfigError."""
    flags = {known[word] for word in words if word in known}
    rest = [word for word in words if word not in known]
    strange = [word for word in rest if word.startswith("-")]
    if strange:
        raise ConfigError(
            Fault(word, f"there is no such flag.{nearest(word, known)} Flags: {listed(known)}.", "command line")
            for word in strange
        )
    return flags, rest


def one_folder(words: Sequence[str], of: str = "a run or a sweep") -> tuple[str, list[Fault]]:
    """The folder of a record among the words, and what is wrong unless there is one of them and nothing else."""
    if len(words) == 1:
        return words[0], []
    return "", [Fault("DIR", f"{len(words)} folders are named. Name one, that of {of}.")]


def overrides_apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides among the words, and the others: a folder may have a = in its name."""
    overrides = [one for one in words if "=" in one and not Path(one).exists()]
    return overrides, [one for one in words if one not in overrides]


def kept_in_a_file(overrides: Sequence[str]) -> list[str]:
    """The overrides of a command that is nothing without conversations: their store is a file, unless one is chosen."""
    chosen = any(word.lstrip("+").startswith("store=") for word in overrides)
    return [*overrides] if chosen else ["store=sqlite", *overrides]


def visible(text: str) -> str:
    """Text without control characters, for a terminal."""
    return CONTROL.sub("", text)


def printed(text: str, *, ascii_only: bool = False) -> str:
    """Text in one line: what prints nothing, breaks the line or turns it around is written as Python escapes it."""
    return "".join(one if one.isprintable() and (one.isascii() or not ascii_only) else ascii(one)[1:-1] for one in text)


def json_line(value: Any) -> str:
    """JSON for stdout. Where its encoding lacks characters all but ASCII is escaped as JSON does it."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    return json.dumps(value, default=str, ensure_ascii=not encoding.lower().startswith("utf"))


def flow(value: Any) -> str:
    """Plain data in one line, as a command line and YAML take it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def is_terminal(stream: IO[str]) -> bool:
    return hasattr(stream, "isatty") and stream.isatty()


def table(rows: Iterable[Sequence[str]], head: Sequence[str], *, varies: bool = False) -> None:
    """Print rows: drawn by rich on a terminal, tab-separated otherwise, so that other programs can read them.

    `varies`: the columns depend on what is shown, so that nobody can know them without their head.
    """
    if not is_terminal(sys.stdout):
        for row in [head, *rows] if varies else rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in head:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
