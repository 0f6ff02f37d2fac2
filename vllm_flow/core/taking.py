"""Taking: what engines honour none of and refuse, each in the same words: adapters, shapes, media, texts to score."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vllm_flow.core.errors import EngineError
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.resources import Adapts, Engine, Scorer
from vllm_flow.core.values import Before, Prompt, Request

NO_ADAPTERS = "learns nothing while it runs. Choose another, such as engine=transformers."
MEDIA_WORDS: Mapping[str, str] = {"image": "images", "audio": "sounds"}


async def score(
    engine: Engine,
    prompt: Before,
    completion: str | tuple[int, ...],
    tenant: str = "",
    adapter: str | None = None,
) -> Scored:
    """What any engine says of a text. Raises EngineError also when it is no Scorer."""
    if adapter is not None:
        return await adapting(engine).score(prompt, completion, tenant, adapter)
    if not isinstance(engine, Scorer):
        raise EngineError(f"{named(engine)} does not score texts. Choose another, such as engine=transformers.")
    return await engine.score(prompt, completion, tenant)


def adapting(engine: Engine) -> Adapts:
    """The engine, as one that adapts. Raises EngineError when it does not."""
    if not isinstance(engine, Adapts):
        raise EngineError(f"{named(engine)} {NO_ADAPTERS}")
    return engine


def named(engine: Engine | str) -> str:
    name = engine if isinstance(engine, str) else engine.describe().get("engine", type(engine).__name__)
    return f"the engine '{name}'"


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
