"""Taking: what engines refuse of a request because they honour none of it, each in the same words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vllm_flow.core.errors import EngineError
from vllm_flow.core.resources import NO_ADAPTERS, Engine, named
from vllm_flow.core.values import Before, Prompt, Request

MEDIA_WORDS: Mapping[str, str] = {"image": "images", "audio": "sounds"}


def check_plain(engine: Engine, request: Request) -> None:
    """For engines that read with no adapter. Raises EngineError for a request that wants one."""
    if request.adapter is not None:
        raise EngineError(f"{named(engine)} {NO_ADAPTERS}")


def check_shape(engine: Engine, request: Request, shapes: Collection[str]) -> None:
    """For engines that hold answers to these kinds of shapes alone. Raises EngineError for a request of another."""
    if request.shape is not None and request.shape.kind not in shapes:
        raise EngineError(f"{named(engine)} holds no answer to a {request.shape.kind}. Choose engine=transformers.")


def check_media(engine: Engine | str, prompt: Before, kinds: Collection[str]) -> None:
    """For every engine. Raises EngineError for a prompt with media of a kind that it reads none of."""
    messages = prompt.messages if isinstance(prompt, Prompt) else ()
    for medium in (one for message in messages for one in message.media):
        if medium.kind not in kinds:
            what = f"{named(engine)} reads no {MEDIA_WORDS[medium.kind]} with this model"
            which = f": {medium.source}" if medium.source else ""
            raise EngineError(f"{what}{which}. Choose a model that does, or have it put in words with fuse/describe.")
