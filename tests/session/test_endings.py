"""How sessions end: the record they leave, Ctrl-C, being forgotten, and a process that ends without closing them."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import vllm_flow
from tests import fakes
from vllm_flow.core.errors import EngineError, RecordError
from vllm_flow.core.results import TurnFailed

from .conftest import FAKE, fake, rows, run_of

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
FORGETFUL = """
import vllm_flow
session = vllm_flow.load("dialogue", ["engine=echo"], record="run")
print(session.run("Hello").text)
"""
UNFINISHED = """
import vllm_flow
session = vllm_flow.load(
    "dialogue", ["model=custom", "sampling.max_tokens=1900", "sampling.min_tokens=1900"], record="run"
)
pieces = iter(session.stream("Hello"))
next(pieces)
"""
INTERRUPTED = """
import os, signal
import vllm_flow
from vllm_flow.core.events import TokenMade

def press(event) -> None:
    heard.append(isinstance(event, TokenMade))
    if heard[-1] and sum(heard) == 3:
        os.kill(os.getpid(), signal.SIGINT)

heard = []
spec = vllm_flow.load("dialogue", ["model=custom", "sampling.max_tokens=1900", "sampling.min_tokens=1900"]).spec
session = vllm_flow.Session(spec, record="run", observers=[press])
try:
    session.run("Tell me everything.")
except KeyboardInterrupt:
    reply = session.opened("store").turns("text")[0].reply
    print(reply.finish_reason, len(reply.token_ids) >= 3)
for piece in session.stream("And now?"):
    print(bool(piece), len(session.opened("store").turns("text")))
    break
"""
BUSY = """
import os, signal, sys, threading, time
from dataclasses import dataclass
import vllm_flow
from vllm_flow.core.registry import resource
from vllm_flow.engines import Echo, EchoEngine
from vllm_flow.session import background, session as sessions
background.PATIENCE_S = sessions.PATIENCE_S = 0.3

@resource("test/huge", shared=True)
@dataclass(frozen=True)
class Huge(Echo):
    "Takes for ever to load."
    def open(self) -> EchoEngine:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(60)

graph = {"reply": {"use": "infer/generate"}, "schedule": {"use": "schedule/sampling"},
         "prompt": {"use": "fuse/chat"}, "context": {"use": "context/full"}}
session = vllm_flow.build(graph, "reply", resources={"engine": Huge(), "store": {"use": "store/memory"}})
try:
    session.run("Hello")
except KeyboardInterrupt:
    print("interrupted")
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "default", "-c", code]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )


def test_a_session_leaves_the_record_of_a_run(place: Path) -> None:
    with vllm_flow.load("dialogue", ["engine=echo"]) as session:
        session.run("Hello")
        session.run(["a", "b"])
        session.set("sampling.max_tokens=1")
    folder = session.folder
    assert folder is not None
    assert folder.relative_to(place).as_posix().startswith("outputs/runs/")
    assert "-dialogue-python-" in folder.name
    assert {file.name for file in folder.iterdir()} == {
        "calls.jsonl", ".lock", "commits.jsonl", "config.yaml", "events.jsonl", "results.jsonl", "run.json", "timings.jsonl",
    }  # fmt: skip
    run = run_of(folder)
    assert (run["status"], run["error"], run["turns"]) == ("finished", None, {"answered": 3, "failed": 0, "stored": 0})
    assert [(row["index"], row["value"]["text"]) for row in rows(folder / "results.jsonl")] == [
        (0, "Hello"),
        (1, "a"),
        (2, "b"),
    ]
    assert [row["change"] for row in rows(folder / "events.jsonl") if row["event"] == "reconfigured"] == [
        "sampling.max_tokens=1"
    ]


def test_a_record_goes_where_it_is_told_but_never_over_another(place: Path) -> None:
    with vllm_flow.load(overrides="engine=echo", record="kept/here") as session:
        session.run("Hello")
    assert session.folder == place / "kept" / "here"
    assert run_of(session.folder)["status"] == "finished"
    with pytest.raises(RecordError) as caught:
        vllm_flow.load(overrides="engine=echo", record="kept/here")
    assert str(caught.value) == f"{place / 'kept' / 'here'}: there is the record of a run in it. Choose another folder."
    assert repr(session) == f"<Session dialogue, recorded in {place / 'kept' / 'here'}>"


def test_without_a_record_nothing_is_written(place: Path) -> None:
    with vllm_flow.load(overrides="engine=echo", record=False) as session:
        session.run("Hello")
    assert (list(place.iterdir()), session.folder, repr(session)) == ([], None, "<Session dialogue, not recorded>")


def test_a_session_that_was_never_used_leaves_nothing(place: Path) -> None:
    with vllm_flow.load(overrides="engine=echo"):
        pass
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), "interrupted", None),
        (ValueError("no such column"), "failed", "no such column"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
    ],
)
def test_the_record_says_how_the_session_ended(place: Path, error: BaseException, status: str, words: str) -> None:
    def broken() -> None:
        with fake(record="run") as session:
            session.run("Hello")
            raise error

    with pytest.raises(type(error)):
        broken()
    assert (run_of(place / "run")["status"], run_of(place / "run")["error"]) == (status, words)


def test_an_async_session_is_closed_by_async_with(place: Path) -> None:
    async def talk() -> None:
        async with vllm_flow.load(overrides="engine=echo", record="run") as session:
            await session.arun("Hello")

    asyncio.run(talk())
    assert run_of(place / "run")["status"] == "finished"


def test_a_session_closed_with_a_turn_in_flight_was_interrupted(place: Path) -> None:
    session = fake(record="run")
    stream = iter(session.stream("one wait"))
    next(stream)
    session.close()
    assert (run_of(place / "run")["status"], fakes.LOG.in_flight, fakes.LOG.closed) == ("interrupted", 0, ["fake"])


def test_a_model_that_cannot_be_opened_fails_the_run_unless_it_opens_later(place: Path) -> None:
    resources = {**FAKE, "engine": {"use": "fake/engine", "fails_to_open": True}}
    with fake(record="never", resources=resources) as session:
        for _ in range(2):
            with pytest.raises(EngineError, match="no such weights"):
                session.run("Hello")
    run = run_of(place / "never")
    assert (run["status"], run["error"]) == ("failed", "fake: no such weights. Choose another model.")


def test_an_engine_that_cannot_be_closed_is_told_and_recorded(place: Path) -> None:
    session = fake(record="run", resources={**FAKE, "engine": {"use": "fake/engine", "fails_to_close": True}})
    session.run("Hello")
    with pytest.raises(EngineError, match="cannot be closed"):
        session.close()
    assert (run_of(place / "run")["status"], run_of(place / "run")["error"]) == (
        "failed", "fake: cannot be closed. Pull the plug.",
    )  # fmt: skip


def test_a_forgotten_session_closes_itself(place: Path) -> None:
    def forget() -> None:
        fake(record="run").run("Hello")

    before = set(threading.enumerate())
    forget()
    gc.collect()
    assert set(threading.enumerate()) <= before
    assert (run_of(place / "run")["status"], fakes.LOG.closed) == ("finished", ["fake"])


def test_a_forgotten_session_that_ends_badly_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    fake(resources={**FAKE, "engine": {"use": "fake/engine", "fails_to_close": True}}).run("Hello")
    gc.collect()
    assert caplog.messages == ["a session that nobody closed did not end well: fake: cannot be closed. Pull the plug."]


def test_a_failed_turn_is_recorded_and_the_session_goes_on(place: Path) -> None:
    with fake(record="run") as session:
        with pytest.raises(TurnFailed):
            session.run("fail")
        session.run("one")
    assert run_of(place / "run")["turns"] == {"answered": 1, "failed": 1, "stored": 0}


def test_a_process_that_closes_nothing_ends_without_a_word_and_its_record_is_finished(place: Path) -> None:
    done = python(FORGETFUL, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello\n", "")
    assert run_of(place / "run")["status"] == "finished"


def test_a_process_ends_though_an_answer_is_still_being_made(place: Path) -> None:
    started = time.monotonic()
    done = python(UNFINISHED, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run_of(place / "run")["status"] == "interrupted"
    assert time.monotonic() - started < 40


@POSIX
def test_ctrl_c_stops_the_answer_and_leaves_the_session_usable(place: Path) -> None:
    done = python(INTERRUPTED, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted True\nTrue 2\n", "")
    assert run_of(place / "run")["status"] == "finished"


@POSIX
def test_ctrl_c_is_not_held_up_by_what_cannot_be_stopped_nor_is_the_end_of_the_process(place: Path) -> None:
    started = time.monotonic()
    done = python(BUSY, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    assert time.monotonic() - started < 30


def test_ipython_runs_a_cell_that_blocks_and_one_that_awaits(place: Path) -> None:
    pytest.importorskip("IPython")
    cells = [
        "import vllm_flow; session = vllm_flow.load('dialogue', ['engine=echo'], record=False)",
        "first = session.run('one').text",
        "second = (await session.arun('two')).text\nthird = [piece async for piece in session.stream('three four')]",
        "@vllm_flow.stage('test/cell')\n@dataclass(frozen=True)\nclass Cell:\n    'Of a cell.'\n"
        "    def run(self, turn: vllm_flow.Turn) -> vllm_flow.Text:\n        return vllm_flow.Text('from a cell')",
        "fourth = vllm_flow.build({'reply': Cell()}, 'reply', record=False).run('x').text",
    ]
    code = (
        "import json, sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\nshell.run_cell('from dataclasses import dataclass')\n"
        f"for cell in json.loads({json.dumps(json.dumps(cells))}):\n    shell.run_cell(cell).raise_error()\n"
        "print([shell.user_ns[name] for name in ('first', 'second', 'third', 'fourth')])\n"
    )
    done = python(code, place)
    assert done.stdout.splitlines()[-1:] == ["['one', 'two', ['three', ' four'], 'from a cell']"], done.stderr
