"""A process that writes turns until it has written enough or is killed: `writer.py FILE CONVERSATION COUNT LABEL`.

Prints `ready`, then `asked NUMBER TEXT` when begin has returned and `answered NUMBER TEXT` when commit has. What is
printed was acknowledged.
"""

from __future__ import annotations

import itertools
import sys

from vllm_flow.core.errors import TurnConflict
from vllm_flow.core.messages import user
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Sqlite, SqliteStore


def write_one(store: SqliteStore, conversation: str, text: str) -> None:
    """Another writer of the same conversation may take the number first; then the next one is tried."""
    while True:
        number = store.next_number(conversation)
        turn = Turn(conversation, user(text), number=number)
        try:
            store.begin(turn)
        except TurnConflict:
            continue
        print("asked", number, text, flush=True)
        store.commit(turn, Completion(f"reply to {text}", (1, 2), "stop", Usage(3, 2)), {"last": text})
        print("answered", number, text, flush=True)
        return


def main(path: str, conversation: str, count: str, label: str) -> None:
    store = Sqlite(path, wait_s=60).open()
    print("ready", flush=True)
    for place in itertools.islice(itertools.count(), int(count)):
        write_one(store, conversation, f"{label}-{place}")
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
