"""Several processes on one file, and processes that are killed: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import apsw
import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.stores import Sqlite

WRITER = Path(__file__).with_name("writer.py")


def start(path: Path, conversation: str, count: int, label: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(WRITER), str(path), conversation, str(count), label]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def acknowledged(output: str, what: str) -> dict[int, str]:
    """Number to text of what was `asked` or `answered`. A line cut off by the kill was acknowledged to nobody."""
    lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return {int(line[1]): line[2] for line in lines if line[0] == what}


def test_two_processes_write_one_file_at_once_even_one_conversation(tmp_path):
    path = tmp_path / "c.sqlite"
    writers = [start(path, name, 40, label) for name, label in (("both", "a"), ("both", "b"), ("own", "c"))]
    outputs = [writer.communicate(timeout=60)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    told = [acknowledged(output, "answered") for output in outputs]
    store = Sqlite(str(path)).open()
    both = {stored.turn.number: stored.turn.text for stored in store.turns("both")}
    assert both == told[0] | told[1]
    assert sorted(both) == list(range(1, 81))
    assert [stored.turn.text for stored in store.turns("own")] == [f"c-{place}" for place in range(40)]
    store.close()


def test_many_processes_make_the_file_at_once(tmp_path):
    path = tmp_path / "new" / "c.sqlite"
    writers = [start(path, f"w{place}", 1, "x") for place in range(6)]
    assert [writer.communicate(timeout=60)[0] for writer in writers] == ["ready\nasked 1 x-0\nanswered 1 x-0\n"] * 6


def test_a_file_that_another_makes_while_it_is_opened_is_not_taken_for_a_foreign_one(tmp_path, monkeypatch):
    path, others = tmp_path / "c.sqlite", []

    def meanwhile(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        if statement.startswith("SELECT count") and not others:
            others.append("begun")
            with suppress(StoreError):  # it cannot make the tables now, or all is well
                Sqlite(str(path), wait_s=0).open().close()
        return True

    monkeypatch.setattr(apsw, "connection_hooks", [lambda connection: connection.set_exec_trace(meanwhile)])
    store = Sqlite(str(path)).open()
    assert (others, store.turns("ann")) == (["begun"], ())
    store.close()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.full)])
def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path, kills):
    path, random = tmp_path / "c.sqlite", Random(kills)
    asked: dict[int, str] = {}
    answered: dict[int, str] = {}
    for kill in range(kills):
        writer = start(path, "ann", 1_000_000, f"k{kill}")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.0, 0.12))
        writer.send_signal(signal.SIGKILL)
        output = writer.communicate(timeout=60)[0]
        asked |= acknowledged(output, "asked")
        answered |= acknowledged(output, "answered")
        store = Sqlite(str(path)).open()
        found = {stored.turn.number: stored for stored in store.turns("ann")}
        assert {number: found[number].turn.text for number in asked} == asked
        assert all(found[number].reply.text == f"reply to {text}" for number, text in answered.items())
        assert len({stored.turn.text for stored in found.values()}) == len(found), "no turn stands there twice"
        assert len(found) - len(asked) <= kill + 1, "at most the one turn in flight at each kill was not acknowledged"
        store.close()
    assert len(answered) > kills
