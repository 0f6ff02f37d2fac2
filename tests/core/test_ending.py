"""What is done when a process ends, and in which order."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDING = """
import sys, weakref
from vllm_flow.core.ending import at_end, before, not_at_end

class Session: pass

def pressed():
    print("pressed")
    raise KeyboardInterrupt

sessions = [Session() for _ in range(3)]
library = Session()
weakref.finalize(library, print, "library")
first, second, never = (lambda word=word: print(word) for word in ("engine", "second engine", "never"))
for one in (first, never, second):
    at_end(one)
not_at_end(never)
closings = [weakref.finalize(one, print, f"session {number}") for number, one in enumerate(sessions)]
for one in closings:
    before(one)
closings[1].detach()
if "pressed" in sys.argv:
    at_end(pressed)
sys.exit(3)
"""
SESSIONS = "session 2\nsession 0\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [([], 3, f"{SESSIONS}second engine\nengine\nlibrary\n"), (["pressed"], 130, f"{SESSIONS}pressed\n")],
)
def test_sessions_end_first_then_what_computes_then_the_rest(words: list[str], code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", ENDING, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, said, "")


LEAVING = """
import atexit, sys, threading, time, types
from vllm_flow.core.ending import at_end, leave, leave_interrupted

class Left:
    def __del__(self):
        print("taken apart")

def slow():
    time.sleep(0.1)
    print("the thread is done")

left = Left()
atexit.register(print, "registered")
at_end(lambda: print("engine"))
if "torch" in sys.argv:
    import torch
if "thread" in sys.argv:
    threading.Thread(target=slow).start()
if "profile" in sys.argv:
    sys.setprofile(lambda *_: None)
print("said", end=" ")
if "interrupted" in sys.argv:
    leave_interrupted()
leave(3)
sys.exit(4)
"""
OF_PYTHON = "engine\nregistered\ntaken apart\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["torch"], 3, "said engine\nregistered\n"),
        ([], 4, f"said {OF_PYTHON}"),
        (["torch", "thread"], 4, f"said the thread is done\n{OF_PYTHON}"),
        (["torch", "profile"], 4, "said engine\nregistered\n"),
        (["interrupted", "thread"], 130, "said the thread is done\nengine\nregistered\n"),
    ],
)
def test_a_process_with_pytorch_in_it_goes_as_soon_as_all_is_called_and_said(
    words: list[str], code: int, said: str
) -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, said, "")
