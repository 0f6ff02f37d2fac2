"""The KV cache: where sequences lie, and what they leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests import tiny
from vllm_flow.engines.transformers import kv
from vllm_flow.engines.transformers.kv import KVCache
from vllm_flow.engines.transformers.network import Network, Span
from vllm_flow.engines.transformers.slots import Plane, Sequence

TOKENS = range(40, 49)


@pytest.fixture(params=["moved", "staying"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Whose prompts are copied to where their answers grow, or stay where they were read."""
    if request.param == "staying":
        monkeypatch.setattr(kv, "LONG", 0)
    found = Network(tiny.build("Llama"), least=4)
    yield found
    found.close()


@torch.inference_mode()
def test_what_is_no_number_in_one_row_s_cache_reaches_no_other(network: Network) -> None:
    def begun() -> Sequence:
        sequence = network.sequence(len(TOKENS))
        network.read([Span(sequence, TOKENS)])
        return sequence

    def after(poisoned: bool) -> torch.Tensor:
        rows = [begun() for _ in range(3)]
        for row in rows:
            network.begin_decoding(row)
        if poisoned:
            for plane in rows[0].slots.planes if rows[0].slots else ():
                plane[rows[0].slot] = torch.nan
        network.leave(rows[0])
        rows.append(begun())
        network.begin_decoding(rows[-1])
        logits = network.read([Span(row, [50]) for row in rows[1:]])
        for row in rows[1:]:
            network.leave(row)
        return logits

    usual = after(poisoned=False)
    assert usual.isfinite().all()
    assert torch.equal(after(poisoned=True), usual)


def cache(planes: list[Plane]) -> Any:
    return KVCache(planes, torch.float32, torch.device("cpu"))


def test_the_next_long_sequence_gets_the_memory_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "LONG", 0)
    held = cache([Plane(2, 8)] * 4)
    addresses = []
    for prompt in (100, 110, 200):
        sequence = held.sequence(prompt)
        sequence.append([torch.ones(4, 1, 2, prompt, 8)])
        addresses.append(sequence.planes[0].data_ptr())
        held.make_room(sequence)
        assert [slots.length for slots in held.held] == [kv.class_of(prompt + 1)]
        assert sequence.slots.planes[0].data_ptr() == addresses[-1]  # nothing was copied
        assert sequence.slots.planes[0][0, :, prompt:].count_nonzero() == 0
        held.leave(sequence)
        assert held.held == []
    assert addresses[0] == addresses[1] != addresses[2]


def test_planes_of_several_shapes_are_taken_over_as_they_were_copied() -> None:
    held = cache([Plane(2, 8), Plane(1, 4), Plane(2, 8), Plane(1, 4)])
    one, other = held.sequence(5), held.sequence(5)
    for number, plane in enumerate(one.planes):
        plane[:] = number
    one.length = 5
    other.append(one.copied(0, one.length))
    assert [plane[0, :, :5].unique().tolist() for plane in other.planes] == [[0], [1], [2], [3]]
    assert [tuple(plane.shape) for plane in other.planes] == [(1, 2, 64, 8), (1, 1, 64, 4)] * 2


def test_more_rows_lie_side_by_side_where_they_are_short() -> None:
    held = cache([Plane(2, 64)] * 40)
    rooms = []
    for prompt in (10, 200):
        sequence = held.sequence(prompt)
        sequence.append([torch.ones(40, 1, 2, prompt, 64)])
        held.make_room(sequence)
        rooms.append(len(sequence.slots.planes[0]))
        held.leave(sequence)
    assert rooms == [128, 102]


def test_no_more_rows_lie_side_by_side_than_the_system_gives_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "AT_ONCE", 5 * 64 * 4 * 16 * 4)  # five rows of 64 tokens, four planes of 16 numbers
    held = cache([Plane(2, 8)] * 4)
    for prompt, room in ((10, 5), (100, 2), (5000, 1)):
        sequence = held.sequence(prompt)
        sequence.append([torch.ones(4, 1, 2, prompt, 8)])
        monkeypatch.setattr(kv, "SIDE_BY_SIDE", 0)
        held.make_room(sequence)
        assert [len(slots.planes[0]) for slots in held.held] == [room]
        held.leave(sequence)


def test_a_sequence_stays_where_it_is_if_there_is_no_memory_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    held = cache([Plane(2, 8)] * 4)
    sequence = held.sequence(63)
    sequence.append([torch.ones(4, 1, 2, 63, 8)])
    held.make_room(sequence)
    sequence.length = 64
    before = sequence.slots
    with monkeypatch.context() as patched:
        patched.setattr(kv, "Stacks", full)
        for ask in (held.make_room, held.fork):
            with pytest.raises(RuntimeError, match="can't allocate memory"):
                ask(sequence)
    assert (sequence.slots, held.held) == (before, [before])
    twin = held.fork(sequence)
    held.make_room(sequence)
    assert sequence.slots is twin.slots is not before
    assert (sequence.slot, twin.slot) == (1, 0)
    assert all(torch.equal(plane[0], plane[1]) for plane in twin.slots.planes)
    for one in (twin, sequence):
        held.leave(one)
    assert held.held == []
