"""The engine's thread and the end of the process: whatever it computes then, nothing aborts."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vllm_flow.engines.transformers.options import _heard_afterwards

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
LOADING = """
import os, signal, sys, threading, time
import torch
from vllm_flow.engines.transformers.engine import TransformersEngine

def press(after_s):
    timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True  # or Python would wait for it, and not for the engine's thread
    timer.start()

def load():
    press(0.1)
    table, end = torch.ones(1 << 22), time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        table = table.sin()  # comes back from C++ every few milliseconds
    print("loaded", flush=True)
    sys.exit()

try:
    TransformersEngine(load)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    if len(sys.argv) > 2:
        press(float(sys.argv[2]))
    sys.exit(7)
"""
CLOSING = """
import os, signal, sys, threading, time
import torch
from vllm_flow.engines.transformers.worker import Worker

def work():
    table, end = torch.ones(1 << 22), time.monotonic() + 0.8
    while time.monotonic() < end:
        table = table.sin()
    print("done", flush=True)

worker = Worker(work, lambda: None, "test")
worker.start()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    worker.join()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def ended(program: str, *words: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_process_that_is_interrupted_while_a_model_loads_ends_when_that_has_come_to_an_end() -> None:
    assert ended(LOADING, "0.8") == (7, "interrupted\nloaded\n")


def test_a_process_waits_for_the_thread_even_if_waiting_for_it_was_interrupted() -> None:
    assert ended(CLOSING) == (0, "interrupted\ndone\n")


def test_who_waits_longer_is_told_and_ends_it_with_ctrl_c() -> None:
    said = "waiting for the end of what is being loaded or computed; Ctrl-C ends it at once"
    assert ended(LOADING, "60", "3") == (130, f"interrupted\n{said}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_pressed_while_libraries_are_imported_is_heard_afterwards(number: int) -> None:
    def heard(*_: object) -> None:
        raise KeyboardInterrupt

    def importing() -> None:
        with _heard_afterwards():
            signal.raise_signal(number)
            signal.raise_signal(number)
            steps.append("imported")

    steps: list[str] = []
    before = signal.signal(number, heard)
    try:
        with pytest.raises(KeyboardInterrupt):
            importing()
        assert steps == ["imported"]
        assert signal.getsignal(number) is heard
    finally:
        signal.signal(number, before)


@pytest.mark.full
def test_a_run_may_be_interrupted_at_any_moment_once_or_twice(tmp_path: Path, smollm2: Path) -> None:
    rng = random.Random(0)
    words = ["input.text=Tell me a long story.", "sampling.max_tokens=400", "sampling.min_tokens=400"]
    for _ in range(40):
        command = [sys.executable, "-m", "vllm_flow", *words]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            if rng.random() < 0.4:
                process.stdout.read(1)
            else:
                time.sleep(rng.uniform(1, 4))
            process.send_signal(signal.SIGINT)
            if rng.random() < 0.5:
                time.sleep(rng.choice([0.0, 0.03, 0.1, 0.3]))
                process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode()
            if "Exception ignored" in said:  # Python heard it where it lets nothing be raised
                continue
            # By the signal: the interpreter was all but taken down.
            assert process.wait(60) in {130, -signal.SIGINT}, said
            assert re.fullmatch(r"(.*\n)?\nInterrupted\.\n", said), said
