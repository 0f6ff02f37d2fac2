"""What a conversation costs to load, write and find in a file of many turns.

    python tests/bench/store.py [--turns 100000] [--each 50] [--rounds 200] [--file FILE]

Makes a file of that many turns in conversations of `--each`, of about the length that a chat has (a question of 30
words, an answer of 160 tokens), then prints the median and the 95th percentile in milliseconds of: loading a
conversation drawn at random, all its turns and its state, by a store that has not seen it; one turn, begun and
committed to the disk; a search for a word that one conversation has. What is read lies in the system's cache.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from vllm_flow.core.archive import Kept, KeptTurn
from vllm_flow.core.messages import user
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Sqlite, SqliteStore, sqlite_rows

WORDS = [f"word{place}" for place in range(5000)]


def turn(name: str, number: int, draw: random.Random) -> KeptTurn:
    asked = " ".join(draw.choices(WORDS, k=30))
    answer = " ".join(draw.choices(WORDS, k=120))
    ids = tuple(draw.choices(range(50_000), k=160))
    reply = Completion(answer, ids, "stop", Usage(1000, 160))
    return KeptTurn(Turn(name, user(asked), number=number), reply, {"facts": {"name": "Ann"}, "turn": number})


def fill(store: SqliteStore, turns: int, each: int) -> None:
    draw, now = random.Random(1), datetime.now(UTC)
    for place in range(-(-turns // each)):
        name = f"chat-{place}"
        many = tuple(turn(name, number, draw) for number in range(1, each + 1))
        store.load(Kept(name, f"Needle{place} in a title", now, many))


def timed(what: str, rounds: int, work: Callable[[int], object]) -> None:
    taken = []
    for place in range(rounds):
        began = time.perf_counter()
        work(place)
        taken.append((time.perf_counter() - began) * 1000)
    high = statistics.quantiles(taken, n=20)[-1]
    print(f"{what:<42} {statistics.median(taken):8.2f} {high:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--file", help="keep the file here, and use it again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(given.file or f"{folder}/store.sqlite")
        with closing(Sqlite(str(path)).open()) as store:
            if not store.conversations():
                began = time.perf_counter()
                fill(store, given.turns, given.each)
                print(f"filled in {time.perf_counter() - began:.0f} s")
            measure(store, given.rounds)
        print(f"{os.path.getsize(path) / 1e6:.0f} MB")


def measure(store: SqliteStore, rounds: int) -> None:
    listed = store.conversations()
    names = [one.name for one in listed]
    draw = random.Random(2)
    print(f"{sum(one.turns for one in listed)} turns in {len(names)} conversations; ms: median, 95th percentile")

    def load(_: int) -> None:
        sqlite_rows._decoded.cache_clear()
        name = draw.choice(names)
        store.turns(name)
        store.state(name)

    def load_again(place: int) -> None:
        store.turns(names[place % 4])
        store.state(names[place % 4])

    def write(place: int) -> None:
        one = turn("written", store.next_number("written"), draw)
        store.begin(one.turn)
        if one.reply:
            store.commit(one.turn, one.reply, {"turn": place})

    def find(_: int) -> None:
        store.search(draw.choice(WORDS))

    timed(f"load a conversation of {listed[-1].turns} turns", rounds, load)
    timed("load one that was loaded before", rounds, load_again)
    timed("begin and commit a turn", min(rounds, 100), write)
    timed("find 20 messages with a word", rounds, find)
    timed("list the conversations", min(rounds, 10), lambda _: store.conversations())
    store.delete("written")


if __name__ == "__main__":
    main()
