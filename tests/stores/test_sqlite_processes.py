"""Several processes on one file, and processes that are killed: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
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


def check_all_is_there(path: Path, asked: dict[int, str], answered: dict[int, str], unheard: int) -> None:
    """What was acknowledged is there, once, with its own reply and state, and can be found.

    unheard: how many turns may be there whose acknowledgement nobody heard.
    """
    with closing(Sqlite(str(path)).open()) as store:
        kept = {one.turn.number: one for one in store.dump("ann").turns}
        assert {number: kept[number].turn.text for number in asked} == asked
        assert {number: kept[number].reply.text for number in answered} == {
            number: f"reply to {text}" for number, text in answered.items()
        }
        for one in kept.values():
            assert one.reply is None or one.reply.text == f"reply to {one.turn.text}", "no reply is another turn's"
            assert one.state is None or one.state == {"last": one.turn.text}, "no state is another turn's"
        assert len({one.turn.text for one in kept.values()}) == len(kept), "no turn stands there twice"
        assert sorted(kept) == list(range(1, len(kept) + 1)), "no number was left out"
        assert len(kept) - len(asked) <= unheard
        replies = sum(one.reply is not None for one in kept.values())
        assert len(store.search("k", limit=10**9)) == len(kept) + replies, "every message is found, once"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.full)])
def test_killed_processes_that_write_at_once_lose_double_and_mix_nothing(tmp_path, kills):
    """Two at a time in one conversation; one is killed, then the other, in the middle of what they do."""
    path, random = tmp_path / "c.sqlite", Random(kills)
    asked: dict[int, str] = {}
    answered: dict[int, str] = {}
    for kill in range(0, kills, 2):
        writers = [start(path, "ann", 1_000_000, f"k{kill + place}") for place in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        random.shuffle(writers)
        for writer in writers:
            time.sleep(random.uniform(0.0, 0.12))
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            output = writer.stdout.read()  # and not communicate, which loses what lies in the buffer
            writer.communicate(timeout=60)
            heard = acknowledged(output, "asked")
            assert not heard.keys() & asked.keys(), "no number is given twice"
            asked |= heard
            answered |= acknowledged(output, "answered")
        check_all_is_there(path, asked, answered, unheard=kill + 2)
    print(f"{kills} kills: {len(asked)} turns begun and {len(answered)} answered, as was acknowledged; none lost")
    assert len(answered) > kills // 2
