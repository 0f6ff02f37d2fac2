"""Turns from standard input, answered as they arrive: the pipeline as one command among others in a shell."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from typing import ClassVar

from vllm_flow.core.errors import InputError
from vllm_flow.core.gate import Gate
from vllm_flow.core.messages import user
from vllm_flow.core.registry import source
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs.json_lines import json_rows, lines_of, text_of
from vllm_flow.inputs.opening import LOOKED_AT
from vllm_flow.inputs.rows import Strict, turns_of
from vllm_flow.inputs.shown import Shown

CONVERSATION = "stdin"


@source("input/stdin")
@dataclass(frozen=True)
class Stdin:
    """Lines of standard input: each is one turn of one conversation, `stdin`.

    When the first line begins with `{`, the lines are rows as `input/file` reads them. It can be read once.
    """

    waits: ClassVar[bool] = True

    def turns(self, media: Gate | None = None) -> Iterator[Turn | BadRow]:
        """Raises InputError for a terminal, for nothing at all, and for what is not UTF-8."""
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(
                f"{CONVERSATION}: there is nothing piped in. Pipe text into the command, or use `vllm-flow chat`."
            )
        # A reader of our own: the interpreter ends by closing its own, and dies if a thread still waits in that.
        stream: BufferedReader = BufferedReader(FileIO(sys.stdin.fileno(), closefd=False), LOOKED_AT)
        lines = lines_of(stream, CONVERSATION)
        first = next(lines)  # lines_of raises when there is none
        everything = itertools.chain([first], lines)
        if first[1].lstrip().startswith(b"{"):
            yield from turns_of(json_rows(everything), Strict(Shown(media)), CONVERSATION)
        else:
            yield from _spoken(everything, CONVERSATION)


def _spoken(lines: Iterable[tuple[int, bytes]], place: str) -> Iterator[Turn | BadRow]:
    """A line as it is. After one that cannot be read the conversation lacks a turn, so no other is answered."""
    broken = 0
    for index, (number, line) in enumerate(lines):
        try:
            text = text_of(line).rstrip("\r\n")
        except ValueError as error:
            broken = broken or number
            yield BadRow(index, f"{place}:{number}", str(error))
            continue
        if broken:
            yield BadRow(index, f"{place}:{number}", f"the conversation lacks line {broken}. Correct that line.")
        else:
            yield Turn(CONVERSATION, user(text), index=index)
