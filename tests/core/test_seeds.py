"""Seeds: a fixed hash of what a request is, and of nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from typing import Any

import pytest

from tests import fakes
from vllm_flow.core.messages import user
from vllm_flow.core.runner import Runner
from vllm_flow.core.seeds import derive_seed
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn

GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}

KNOWN = [
    ((0, "", 0, "", 0), 4291721194930898045),
    ((0, "c0", 1, "reply", 0), 18394124895981496339),
    ((0, "c0", 1, "reply", 1), 3360221210675278398),
    ((7, "a", 2, "candidates[1]/reply", 0), 9592811648131329650),
    ((2**63, 'é\n"😀', 10**6, "x", 255), 2820572874605924132),
    ((-1, "\ud83d", 1, "reply", 0), 9171012241521423218),
]


@pytest.mark.parametrize(("identity", "seed"), KNOWN)
def test_a_seed_is_the_one_it_was_in_every_earlier_version(identity: Any, seed: int) -> None:
    assert derive_seed(*identity) == seed


def test_a_seed_is_the_start_of_a_hash_that_any_tool_can_compute() -> None:
    digest = hashlib.sha256(b'[7,"\\u00e9\\"",2,"reply",3]').digest()
    assert derive_seed(7, 'é"', 2, "reply", 3) == sum(byte << 8 * place for place, byte in enumerate(digest[:8]))


def test_every_part_of_the_identity_counts_and_none_runs_into_the_next() -> None:
    identities = [
        *itertools.product((0, 1, 11), ("", "1", "11", "a"), (0, 1, 11), ("a", "a,1", "reply"), (0, 1, 11)),
        (0, 'a",1,"b', 2, "c", 0),
        (0, "a", 1, 'b",2,"c', 0),
        (0, "\u00e9", 1, "c", 0),  # one letter, composed and decomposed: texts as given, not as they look
        (0, "e\u0301", 1, "c", 0),
        (0, r"\u00e9", 1, "c", 0),
    ]
    assert len({derive_seed(*identity) for identity in identities}) == len(identities)


def test_seeds_fill_64_bits_evenly() -> None:
    """4096 seeds: each bit is set in half of them, to six standard deviations; none occurs twice."""
    seeds = [derive_seed(run, f"c{i}", 1, "reply", 0) for run in range(4) for i in range(1024)]
    assert len(set(seeds)) == 4096
    assert min(seeds) >= 0
    for bit in range(64):
        assert abs(sum(seed >> bit & 1 for seed in seeds) - 2048) < 6 * 32


@pytest.mark.parametrize("part", range(5))
def test_neighbours_have_half_their_bits_in_common(part: int) -> None:
    """The next run, conversation, turn, node or sample: 32 of 64 bits differ on average, to six standard deviations."""

    def seed(number: int) -> int:
        where: list[Any] = [5, "c5", 5, "n5", 5]
        where[part] = number if part in (0, 2, 4) else f"x{number}"
        return derive_seed(*where)

    differ = [(seed(number) ^ seed(number + 1)).bit_count() for number in range(256)]
    assert abs(sum(differ) / 256 - 32) < 6 * 4 / 16


def asked(run: RunSpec) -> list[int]:
    async def all_of_them() -> None:
        turns = [Turn(f"c{i}", user("hello"), index=i) for i in range(3)]
        _ = [result async for result in Runner(run).run(turns)]

    log = fakes.fresh_log()
    asyncio.run(all_of_them())
    return sorted(request.seed for request in log.requests)


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": {"temperature": 0.1, "top_p": 0.5}},
        {"resources": {"engine": {"use": "fake/engine", "name": "larger"}, "store": {"use": "store/memory"}}},
        {"graph": GRAPH | {"prompt": {"use": "fuse/chat", "system": "Be brief."}}},
        {"graph": GRAPH | {"context": {"use": "context/window", "turns": 1}}},
        {"concurrency": 1},
        {"name": "another"},
    ],
)
def test_points_of_a_sweep_share_their_seeds(change: dict[str, Any]) -> None:
    own: dict[str, Any] = {
        "name": "test",
        "graph": GRAPH,
        "output": "reply",
        "resources": {"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}},
        "seed": 5,
    }
    point, other = RunSpec(**own), RunSpec(**own | change)
    assert point.fingerprint != other.fingerprint
    assert asked(point) == asked(other) == sorted(derive_seed(5, f"c{i}", 1, "reply", 0) for i in range(3))
