"""Keys: what may stand at the top of a configuration, and how a name that may not is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from vllm_flow.core.errors import Fault, listed, nearest
from vllm_flow.core.sampling import Sampling

TOP = frozenset(
    {"concurrency", "graph", "input", "model", "output", "plugins", "resources", "sampling", "seed"}
)  # fmt: skip
ONE_PLACE = "a group's values go to one place only."
SAMPLING = tuple(field.name for field in dataclasses.fields(Sampling))


def unknown_key(key: str, groups: Iterable[str], origin: str) -> Fault:
    """The fault for a top-level key that is neither ours nor a group."""
    known = sorted({*TOP, *groups})
    hint = nearest(key, known)
    if not hint:
        hint = nearest(key, SAMPLING).replace("'", "'sampling.", 1)
    return Fault(key, f"there is no key '{key}'.{hint} There are: {listed(known)}.", origin)
