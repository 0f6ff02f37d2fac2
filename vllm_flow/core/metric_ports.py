"""What a metric asks for, read from the signature of its `score`: the one rule, over answers in place of a graph."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.answers import Answer
from vllm_flow.core.ports import Ports, annotated, ports_of, type_name

SINGLE: Mapping[str, Any] = {"text": str, "answer": Answer}
"""Given to a metric of single answers."""
SAMPLES: Mapping[str, Any] = {"texts": tuple[str, ...], "answers": tuple[Answer, ...]}
"""Given to a metric of all samples of a prompt, which may also name other metrics, as Marks."""
BOTH: Mapping[str, Any] = {"reference": Any}
GIVEN: Mapping[str, Any] = {**SINGLE, **SAMPLES, **BOTH}
SCORE = (float, int, bool, types.NoneType)


def metric_ports(cls: type) -> Ports:
    """Parameters and return type of `score`. Raises TypeError when they cannot be read, or are none of a metric."""
    if inspect.iscoroutinefunction(inspect.unwrap(getattr(cls, registry.metric.method))):
        raise TypeError("its score is async. Write a plain one")
    found = annotated(cls, registry.metric.method)
    kinds = typing.get_args(found.output) or (found.output,)
    if found.output is not Any and not set(kinds) <= set(SCORE):
        raise TypeError(f"the return value has the type {type_name(found.output)}. A score is float | bool | None")
    return found


def ports_for(kind: registry.Registry, cls: type) -> Ports:
    """What a part of this kind asks for and makes. Raises TypeError."""
    return metric_ports(cls) if kind is registry.metric else ports_of(cls, kind.method)


def over_samples(ports: Ports, sources: Mapping[str, str]) -> bool:
    """Whether a metric reads all samples of a prompt: it asks for those, or for what another metric gives them."""
    return any(sources[name] not in SINGLE and sources[name] not in BOTH for name in ports.inputs)
