"""The benches are run by hand, so what they take from the package is looked for here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent / "bench"
LOOKING = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        parts = getattr(importlib.import_module(name), "PARTS", {})
    except ModuleNotFoundError as missing:
        if missing.name != "llama_cpp":  # of the peer, which is measured in a process of its own
            raise
        continue
    for owner, called in (part for several in parts.values() for part in several):
        if not hasattr(owner, called):
            print(f"{name}: {owner} has no {called}")
print("looked at", len(sys.argv) - 1)
"""


def test_all_that_the_benches_take_from_the_package_is_there() -> None:
    names = sorted(path.stem for path in BENCH.glob("*.py"))  # in a process: some register what Hydra then keeps
    command = [sys.executable, "-c", LOOKING, *names]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"looked at {len(names)}\n", "")
