"""Marks: which open resources each node gets a binding of its own of, and which tell what they are given or are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_flow.core.binding import outside
from vllm_flow.core.describing import PageReader, Tagger
from vllm_flow.core.embedding import Embedder
from vllm_flow.core.events import Observer
from vllm_flow.core.heard import Outside
from vllm_flow.core.pipeline import Resource
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.telling import Telling
from vllm_flow.core.transcripts import Transcriber
from vllm_flow.core.walk import Live

MODELS = (Engine, Embedder, Tagger, PageReader, Transcriber)
"""They have weights, which a record should know."""


def marked(name: str, resource: Resource, live: Any, publish: Observer) -> Any:
    """The live resource, marked if it is an engine or answers from outside; a store in memory tells what it keeps."""
    if isinstance(resource.options, EngineOptions):
        return Live(live, name)
    if outside(live):
        return Outside(live, name)
    return Telling(live, name, publish) if getattr(live, "volatile", False) else live


def about(opened: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What each model among the open resources says of itself, by name."""
    live = {name: unmarked(one) for name, one in opened.items()}
    return {name: dict(one.describe()) for name, one in live.items() if isinstance(one, MODELS)}


def unmarked(given: Any) -> Any:
    match given:
        case Live(engine):
            return engine
        case Outside(live):
            return live
    return given
