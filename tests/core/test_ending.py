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
