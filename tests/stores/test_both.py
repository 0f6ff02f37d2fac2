"""What the built-in stores share: every promise of a store, the words of their refusals, and their every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from vllm_flow.core.archive import Kept
from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.messages import system
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Memory, Sqlite
from vllm_flow.stores.rules import EPOCH
from vllm_flow.testing import archive_promises, shared_promises, store_promises
from vllm_flow.testing.stores import OpenStore, StorePromise
from vllm_flow.testing.talk import CUT, NO, YES, answered, asked

LOOPED: list[object] = []
LOOPED.append(LOOPED)


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    files = count()
    fresh = {"memory": Memory().open, "sqlite": lambda: Sqlite(str(tmp_path / "talks" / f"{next(files)}.db")).open()}
    return fresh[request.param]


@pytest.mark.parametrize("promise", [*store_promises(), *archive_promises()])
def test_every_store_keeps_its_promises(promise: StorePromise, open_store: OpenStore) -> None:
    promise(open_store)


@pytest.mark.parametrize("promise", shared_promises())
def test_a_file_keeps_the_promises_of_what_is_shared(promise: StorePromise, tmp_path: Path) -> None:
    options = Sqlite(str(tmp_path / "shared.db"))
    promise(lambda: (options.open(), options.open()))


CONFLICT = "conversation 'ann', turn 1: it is stored with another {}. Use a free number, or undo that turn."
ANSWERED = "conversation 'ann', turn 1: it is answered already, by another reply. Serve the reply that begin returns."
UNSTORED = "conversation 'ann', turn 1: not stored, because of {}"
OUT_OF_RANGE = "conversation 'ann', turn {}: the number is out of range. Count from 1."


def begin(turn: Turn) -> Callable[[Store], object]:
    return lambda store: store.begin(turn)


def commit(turn: Turn, reply: Completion = YES, state: Mapping[str, Any] | None = None) -> Callable[[Store], object]:
    return lambda store: store.commit(turn, reply, state or {})


def interrupt(turn: Turn) -> Callable[[Store], object]:
    return lambda store: store.interrupt(turn, CUT)


@pytest.mark.parametrize(
    ("attempt", "kind", "said"),
    [
        (begin(asked(1, "Is it snowing?")), TurnConflict, CONFLICT.format("message")),
        (commit(asked(1, "Is it snowing?")), TurnConflict, CONFLICT.format("message")),
        (interrupt(asked(2, "Is it snowing?")), TurnConflict, CONFLICT.format("message").replace("turn 1", "turn 2")),
        (begin(replace(asked(1), history=(system("Lie."),))), TurnConflict, CONFLICT.format("history")),
        (begin(asked(None)), StoreError, "conversation 'ann': the turn has no number. Take it from next_number."),
        (begin(asked(0)), StoreError, OUT_OF_RANGE.format(0)),
        (begin(asked(-1)), StoreError, OUT_OF_RANGE.format(-1)),
        (begin(asked(2**63)), StoreError, OUT_OF_RANGE.format(2**63)),
        (
            begin(asked(1, conversation="half \ud83d")),
            StoreError,
            r"conversation 'half \ud83d': the name holds half a surrogate pair. Name it in valid Unicode.",
        ),
        (
            commit(asked(3)),
            StoreError,
            "conversation 'ann', turn 3: there is a reply but no such turn. Call begin first.",
        ),
        (commit(asked(1), NO), StoreError, ANSWERED),
        (commit(asked(1), YES, {"n": 2}), StoreError, ANSWERED),
        (
            commit(asked(1), YES, {"x": {1}}),
            StoreError,
            UNSTORED.format("x: set cannot be written as JSON. Use texts, numbers, lists and mappings."),
        ),
        (
            commit(asked(1), YES, {"x": [0, {"y": float("nan")}]}),
            StoreError,
            UNSTORED.format("x.1.y: nan is no JSON number. Use a finite one or None."),
        ),
        (
            commit(asked(1), YES, {"x": {1: 2}}),
            StoreError,
            UNSTORED.format("x: the key 1 is no text. JSON has texts as keys only."),
        ),
        (
            commit(asked(1), YES, {"x": LOOPED}),
            StoreError,
            UNSTORED.format("the value: nested too deeply to be written. Make it flatter."),
        ),
    ],
)
def test_both_refuse_in_the_same_words(attempt: Any, kind: type, said: str, open_store: OpenStore) -> None:
    store = open_store()
    answered(store, 1, "Is it raining?")
    store.begin(asked(2))
    before = store.turns("ann"), store.state("ann")
    with pytest.raises(StoreError) as caught:
        attempt(store)
    assert (type(caught.value), str(caught.value)) == (kind, said)
    assert (store.turns("ann"), store.state("ann")) == before
    store.close()


def test_both_are_found_by_their_names() -> None:
    assert [resource.find(f"store/{name}").summary for name in ("memory", "sqlite")] == [
        "Keeps conversations in memory; they are gone when the process ends.",
        "Keeps conversations in a SQLite file, which several processes may use at once.",
    ]


def test_both_answer_alike_to_500_random_calls(tmp_path: Path) -> None:
    random = Random(7)
    stores: list[Any] = [Memory().open(), Sqlite(str(tmp_path / "c.sqlite")).open()]
    kept: list[Kept] = []
    for step in range(500):
        turn = asked(random.randint(1, 5), random.choice(TEXTS), random.choice(["ann", "bob", "cleo"]))
        reply = Completion(random.choice(TEXTS), (1,), "stop", Usage(1, 1))
        name, other = turn.conversation, random.choice(["ann", "bob", "cleo"])
        calls: dict[str, tuple[Any, ...]] = {
            "begin": (turn,),
            "commit": (turn, reply, {"n": random.randint(0, 1)}),
            "interrupt": (turn, CUT),
            "undo": (name,),
            "set_title": (name, random.choice(TEXTS)),
            "fork": (name, other, random.choice([None, 1, 2])),
            "load": (random.choice(kept) if kept else None,),
            "delete": (name,),
        }
        call = random.choice(["begin"] * 6 + ["commit"] * 6 + ["interrupt", "undo", "undo", *calls])
        if call == "load" and not kept:
            continue
        first, second = (outcome(store, call, calls[call], name) for store in stores)
        assert first == second, f"step {step}: {call}"
        with suppress(StoreError):
            kept.append(stores[0].dump(name))
    assert stores[0].search("北京")
    stores[1].close()


TEXTS = [
    "Is it raining?",
    "Rain in Paris – and Café Österreich",
    "明天北京天气怎么样?",
    "비가 와요",
    "!",
    "½ ﬁne 🌧 x_y half \ud83d",
]
SOUGHT = ["rain", '"it is"', "cafe", "北京", "비", "京天", "fine", "x y", "🌧", "RAINING it"]


def outcome(store: Any, call: str, arguments: tuple[Any, ...], name: str) -> object:
    """What a call gave, and what can be asked of the store then."""

    def told(ask: Callable[..., object], *what: object) -> object:
        try:
            given = ask(*what)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return replace(given, written=EPOCH) if isinstance(given, Kept) else given

    given = told(getattr(store, call), *arguments)
    asked = [told(getattr(store, ask), name) for ask in ("turns", "state", "next_number", "taken_back", "dump")]
    listed = [replace(one, written=EPOCH) for one in store.conversations()]
    return given, asked, store.last_conversation(), listed, [store.search(text) for text in SOUGHT]


def test_a_reference_is_neither_kept_nor_compared(open_store: OpenStore) -> None:
    with closing(open_store()) as store:
        turn, plain = replace(asked(1), reference=["wet"]), asked(1)
        assert store.begin(turn) == StoredTurn(plain, None)
        store.interrupt(turn, CUT)
        assert store.turns("ann") == (StoredTurn(plain, CUT),)
        store.commit(turn, YES, {})
        for other in (turn, plain, replace(turn, reference="dry")):
            assert store.begin(other) == StoredTurn(plain, YES)
        assert store.turns("ann") == (StoredTurn(plain, YES),)
