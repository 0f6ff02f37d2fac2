"""What is done last when a process ends."""

from __future__ import annotations

import subprocess
import sys

ENDING = """
import weakref
from vllm_flow.core.ending import at_last, not_at_last

class Session: pass

first, second, never = (lambda word=word: print(word) for word in ("engine", "second engine", "never"))
session = Session()
for one in (first, never, second):
    at_last(one)
not_at_last(never)
weakref.finalize(session, print, "session")
"""


def test_what_comes_last_comes_after_finalizers_and_the_newest_of_it_first() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("session\nsecond engine\nengine\n", "")
