from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Store
from vllm_flow.core.values import Completion, Usage
from vllm_flow.stores import Memory, Sqlite

from . import contract, contract_state
from .contract import CUT, Open, asked


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    options = {"memory": Memory(), "sqlite": Sqlite(str(tmp_path / "talks" / "c.sqlite"))}
    return options[request.param].open


@pytest.mark.parametrize("check", contract.CHECKS + contract_state.CHECKS, ids=lambda check: check.__name__)
def test_every_store_keeps_its_promises(check, open_store):
    check(open_store)


def test_both_are_found_by_their_names():
    assert [resource.find(f"store/{name}").summary for name in ("memory", "sqlite")] == [
        "Keeps conversations in memory; they are gone when the process ends.",
        "Keeps conversations in a SQLite file, which several processes may use at once.",
    ]


def test_both_answer_alike_to_500_random_calls(tmp_path):
    random = Random(7)
    stores: list[Store] = [Memory().open(), Sqlite(str(tmp_path / "c.sqlite")).open()]
    for step in range(500):
        turn = asked(random.randint(1, 5), random.choice(["a", "b"]), random.choice(["ann", "bob"]))
        reply = Completion(random.choice(["x", "y"]), (1,), "stop", Usage(1, 1))
        state = {"n": random.randint(0, 1)}
        call = random.choice(["begin", "begin", "commit", "commit", "interrupt", "undo"])

        def outcome(store, call=call, turn=turn, reply=reply, state=state):
            arguments = {
                "begin": (turn,),
                "commit": (turn, reply, state),
                "interrupt": (turn, CUT),
                "undo": (turn.conversation,),
            }[call]
            try:
                given = getattr(store, call)(*arguments)
            except Exception as error:
                given = f"{type(error).__name__}: {error}"
            name = turn.conversation
            return given, store.turns(name), store.state(name), store.next_number(name), store.last_conversation()

        first, second = (outcome(store) for store in stores)
        assert first == second, f"step {step}: {call}"
    stores[1].close()
