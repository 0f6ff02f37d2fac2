"""The benches are run by hand, so what they take from the package is looked for here."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"
NEEDING = {"llama_peer": "llama_cpp"}
"""What is imported by those that measure a peer in its own process."""


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCH.glob("*.py")))
def test_all_that_a_bench_takes_from_the_package_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in NEEDING:
        pytest.importorskip(NEEDING[name])
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    try:
        found = importlib.import_module(name)
        missing = [
            (owner, called)
            for parts in getattr(found, "PARTS", {}).values()
            for owner, called in parts
            if not hasattr(owner, called)
        ]
        assert missing == []
    finally:
        for one in set(sys.modules) - before:
            if getattr(sys.modules[one], "__file__", "") in {str(path) for path in BENCH.glob("*.py")}:
                del sys.modules[one]
