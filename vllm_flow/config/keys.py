"""Keys: what may stand at the top of a configuration and in a node, and how a name that may not is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from vllm_flow.config.described import summary
from vllm_flow.core.describe import field_docs, paragraphs
from vllm_flow.core.errors import Fault, listed, nearest
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.spec import RunSpec
from vllm_flow.models.spec import Model
from vllm_flow.sweep.settings import Sweep

TOP = frozenset(
    {"concurrency", "graph", "input", "metrics", "model", "output", "plugins", "resources", "sampling", "seed", "sweep"}
)  # fmt: skip
ABOUT = {
    "graph": "A table of named values: each line says which stage makes that value.",
    "output": "The value that is the answer.",
    "resources": "What stages share: the engine, the store, the clock. A stage asks for one by its name.",
    "sampling": summary(Sampling),
    "model": summary(Model),
    "sweep": summary(Sweep),
    "seed": "Equal seeds give equal answers.",
    **{name: paragraphs(text) for name, text in field_docs(RunSpec).items()},
}
"""Key to what it is for."""
WORDS = {
    "use": "The stage that makes this value.",
    "from": "Renames wires: the parameter of the stage, then the value that it gets.",
    "each": "The parameter that gets one item of a tuple at a time.",
    "when": "Runs the stage only if this value is true; `not` and a value turns it round.",
}
"""The reserved words of a node; every other key in it is an option of the stage."""
ONE_PLACE = "a group's values go to one place only."
SAMPLING = tuple(field.name for field in dataclasses.fields(Sampling))


def unknown_key(key: str, groups: Iterable[str], origin: str) -> Fault:
    """The fault for a top-level key that is neither ours nor a group."""
    known = sorted({*TOP, *groups})
    hint = nearest(key, known)
    if not hint:
        hint = nearest(key, SAMPLING).replace("'", "'sampling.", 1)
    return Fault(key, f"there is no key '{key}'.{hint} There are: {listed(known)}.", origin)
