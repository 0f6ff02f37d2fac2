"""Files that replace others: whole, by one writer each, and their owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vllm_flow.core.files import replaced


def test_each_of_two_writers_at_once_writes_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with replaced(path) as slow:
        slow.write("slow, ")
        slow.flush()
        with replaced(path) as quick:
            quick.write("quick")
        assert path.read_text() == "quick"
        slow.write("and whole")
    assert path.read_text() == "slow, and whole"
    assert list(tmp_path.iterdir()) == [path]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replaced(path) as file:
        file.write(str(1 // 0))
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
