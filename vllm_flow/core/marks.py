"""Marks: which open resources each node gets a binding of its own of, and which tell what they are given."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.events import Observer
from vllm_flow.core.heard import Outside
from vllm_flow.core.pages import Web
from vllm_flow.core.pipeline import Resource
from vllm_flow.core.resources import Clock, EngineOptions
from vllm_flow.core.telling import Telling
from vllm_flow.core.tools import Tools
from vllm_flow.core.walk import Live


def marked(name: str, resource: Resource, live: Any, publish: Observer) -> Any:
    """The live resource, marked if it is an engine or answers from outside; a store in memory tells what it keeps."""
    if isinstance(resource.options, EngineOptions):
        return Live(live, name)
    if isinstance(live, Clock | Web | Tools):
        return Outside(live, name)
    return Telling(live, name, publish) if getattr(live, "volatile", False) else live


def unmarked(given: Any) -> Any:
    match given:
        case Live(engine):
            return engine
        case Outside(outside):
            return outside
    return given
