"""Files that replace others: whole, by one writer each, and their owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vllm_flow.core.files import held, replaced, written_once


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


def test_what_is_written_once_makes_its_folder_and_none_above(tmp_path: Path) -> None:
    written_once(tmp_path / "media" / "cat.png", b"the cat")
    written_once(tmp_path / "media" / "cat.png", b"another")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "media").iterdir()] == [("cat.png", b"the cat")]
    with pytest.raises(FileNotFoundError):
        written_once(tmp_path / "deleted" / "media" / "cat.png", b"the cat")
    assert not (tmp_path / "deleted").exists()


def test_what_lies_elsewhere_already_is_named_twice_and_each_name_can_go(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "cat.png", tmp_path / "b" / "cat.png"
    written_once(first, b"the cat")
    written_once(second, b"the cat", first)
    assert first.samefile(second)
    first.unlink()
    assert second.read_bytes() == b"the cat"
    written_once(first, b"the cat", tmp_path / "gone.png")  # as where no file can have two names
    assert first.read_bytes() == b"the cat"
    assert not first.samefile(second)


def test_who_holds_a_folder_takes_away_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    for name in (".run.json.0a1b.new", ".other.json.0a1b.new", "run.json"):
        (tmp_path / name).write_text("{", encoding="utf-8")
    held(tmp_path, "run.json").release()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".other.json.0a1b.new", "run.json"]
