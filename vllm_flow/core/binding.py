"""Binding: which way of being told again belongs to which resource."""

from __future__ import annotations

from vllm_flow.core.describing import PageReader, Tagger
from vllm_flow.core.heard import Bound, BoundClock, BoundTools, BoundWeb, Outside, Publish, Recall
from vllm_flow.core.heard_media import BoundPageReader, BoundTagger
from vllm_flow.core.heard_speech import BoundTranscriber
from vllm_flow.core.pages import Web
from vllm_flow.core.resources import Clock
from vllm_flow.core.tools import Tools
from vllm_flow.core.transcripts import Transcriber
from vllm_flow.core.values import Turn

HEARD: tuple[tuple[type, type[Bound]], ...] = (
    (Clock, BoundClock), (Web, BoundWeb), (Tagger, BoundTagger), (PageReader, BoundPageReader),
    (Transcriber, BoundTranscriber),
)  # fmt: skip


def outside(live: object) -> bool:
    """Whether what it answers is recorded, to be told again."""
    return isinstance(live, (Tools, *(contract for contract, _ in HEARD)))


def bound(outside: Outside, turn: Turn, node: str, recall: Recall | None, publish: Publish) -> Bound:
    """The resource as one node sees it, for one turn."""
    if isinstance(outside.live, Tools):
        return BoundTools(outside, turn, node, recall, publish)
    kind = next(kind for contract, kind in HEARD if isinstance(outside.live, contract))
    return kind(outside, turn, node, recall)
