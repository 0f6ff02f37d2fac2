"""What a large catalogue costs: reading it, its index, and a search in it, in seconds and megabytes.

The search has random vectors of MiniLM's width. What MiniLM takes to embed all, once, and to find the vectors again in
its cache on the disk, is reckoned from 2,000 texts.

    python tests/bench/recommend_scale.py [--items 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.bench.memory import resident
from vllm_flow import Turn, user
from vllm_flow.embedders import Sentences
from vllm_flow.sources import JsonLines
from vllm_flow.stages import Candidates

WIDTH, SAMPLE, SEARCHES = 384, 2_000, 20
TEXT = "A thing of wood and wool, made by hand in the north, that keeps warm in winter and looks well."


class Random:
    """Vectors of length 1 from a generator: those of a text are not the same twice."""

    def __init__(self) -> None:
        self._noise = numpy.random.default_rng(0)

    async def embed(self, texts: Sequence[str], *_: Any, **__: Any) -> Any:
        drawn = self._noise.standard_normal((len(texts), WIDTH), dtype=numpy.float32)
        return drawn / numpy.linalg.norm(drawn, axis=1, keepdims=True)

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def timed(what: str, start: float) -> None:
    print(f"{what}: {time.perf_counter() - start:.2f} s, {resident():.0f} MB in all")


async def searched(catalogue: Any) -> None:
    embedder, start = Random(), time.perf_counter()
    await Candidates().run(Turn("a", user("warm")), catalogue, embedder)
    timed("index of random vectors, with the first search", start)
    for stage in (Candidates(), Candidates(popularity=0.3, diversity=0.3)):
        taken = []
        for place in range(SEARCHES):
            start = time.perf_counter()
            await stage.run(Turn("a", user(f"warm {place}")), catalogue, embedder)
            taken.append(time.perf_counter() - start)
        print(f"a search, diversity {stage.diversity}: {1000 * statistics.median(taken):.0f} ms (median of {SEARCHES})")


def embedded(texts: Sequence[str], items: int) -> None:
    for what in ("embedding all with MiniLM", "finding all their vectors on the disk"):
        embedder = Sentences(package="minilm").open()
        start = time.perf_counter()
        asyncio.run(embedder.embed(texts, keep=True))
        taken = (time.perf_counter() - start) / len(texts)
        embedder.close()
        print(f"{what}: {1000 * taken:.2f} ms each, {taken * items:.0f} s for {items} (reckoned)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "things.jsonl"
        rows = ({"id": one, "title": f"Thing {one}", "text": TEXT, "popularity": one % 97} for one in range(items))
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        print(f"{items} items, {path.stat().st_size / 1e6:.0f} MB; before: {resident():.0f} MB")
        start = time.perf_counter()
        catalogue = JsonLines(str(path), roots=(folder,)).run()
        timed("reading", start)
        asyncio.run(searched(catalogue))
        start = time.perf_counter()
        try:
            catalogue.place("Thnig 77")
        except LookupError as error:
            print(f"{error} ({time.perf_counter() - start:.2f} s)")
        salt = time.time_ns()  # of texts that no earlier run has kept
        embedded([f"{one.text} {salt}" for one in catalogue.offers[:SAMPLE]], items)


if __name__ == "__main__":
    main()
