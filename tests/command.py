"""The command in the test's own process, as a person meets it in a folder: what is typed, and all that is printed.

A process of its own takes a second for the interpreter and the libraries, or four with a model. Tests of what only a
process has (signals, pipes, exit, modes, encodings, what is imported) start one themselves.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from vllm_flow.cli import main


@dataclass(frozen=True)
class Said:
    """What one call of the command left."""

    returncode: int
    stdout: str
    stderr: str


def flow(folder: Path, *words: str, typed: str = "", encoding: str = "utf-8") -> Said:
    """`vllm-flow WORDS` in this folder, with `typed` on its standard input; it prints in this encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    umask = os.umask(0o077)  # the command sets it for good, as a process of its own may
    os.umask(umask)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stdin, contextlib.chdir(folder):
        stdin.write(typed)
        stdin.seek(0)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch.object(sys, "stdin", stdin):
                code = main(words)
        finally:
            os.umask(umask)
    return Said(code, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err)))  # type: ignore[attr-defined]
