"""Describers at work: what the media of a conversation show, in words, for a model that does not read them itself.

Each describer is a stage of its own, so that a pipeline says which there are, and what one of them said can be changed
before it is fused. Without its resource a stage says nothing: what nobody describes, `fuse/describe` tells of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.describing import Line, NotDescribed, PageReader, Tag, Tagger, called
from vllm_flow.core.descriptions import Descriptions, each_medium
from vllm_flow.core.media import Image
from vllm_flow.core.options import at_least, between
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Context, Turn


def pictures(turn: Turn, context: Context | None, engine: Engine | None) -> tuple[Image, ...]:
    """Those of the conversation that the model does not read itself, each once."""
    if engine is not None and "image" in engine.describe().get("media", ()):
        return ()
    earlier = context.messages if context is not None else turn.history
    return tuple(one for one in each_medium((*earlier, turn.message), "image") if isinstance(one, Image))


async def described(
    mark: str, by: str, images: Sequence[Image], describe: Callable[[Image], Awaitable[str]]
) -> Descriptions:
    """Of each picture what is said of it, or why nothing can be."""
    texts, problems = dict[str, str](), dict[str, str]()

    async def one(image: Image) -> None:
        try:
            texts[image.digest] = await describe(image)
        except NotDescribed as problem:
            problems[image.digest] = str(problem)

    async with asyncio.TaskGroup() as group:
        for image in images:
            group.create_task(one(image))
    return Descriptions(mark, {one.digest: texts[one.digest] for one in images if one.digest in texts}, problems, by)


@stage("describe/tags")
@dataclass(frozen=True)
class Tags:
    """What pictures show, as the labels of a classifier: `tabby cat (82 %), Egyptian cat (9 %)`."""

    most: Annotated[int, at_least(1)] = 5
    """How many labels at most."""
    above: Annotated[float, between(0, 1)] = 0.05
    """A label counts only where its probability is above this."""

    async def run(
        self, turn: Turn, *, tagger: Tagger | None = None, context: Context | None = None, engine: Engine | None = None
    ) -> Descriptions:
        if tagger is None:
            return Descriptions("seen", {})

        async def describe(image: Image) -> str:
            return ", ".join(self._labels(await tagger.tags(image)))

        return await described("seen", called(tagger), pictures(turn, context, engine), describe)

    def _labels(self, tags: Sequence[Tag]) -> Iterator[str]:
        for tag in tags[: self.most]:
            if tag.probability > self.above:
                yield f"{tag.label} ({tag.probability:.0%})".replace("%)", " %)")


@stage("describe/ocr")
@dataclass(frozen=True)
class Ocr:
    """What is written in pictures, line by line."""

    above: Annotated[float, between(0, 1)] = 0.5
    """A line counts only where the reader's confidence is above this; how many are below is said."""

    async def run(
        self,
        turn: Turn,
        *,
        reader: PageReader | None = None,
        context: Context | None = None,
        engine: Engine | None = None,
    ) -> Descriptions:
        if reader is None:
            return Descriptions("read", {})

        async def describe(image: Image) -> str:
            return self._text(await reader.read(image))

        return await described("read", called(reader), pictures(turn, context, engine), describe)

    def _text(self, lines: Sequence[Line]) -> str:
        clear = [line.text for line in lines if line.confidence > self.above]
        unclear = len(lines) - len(clear)
        told = [f"[{unclear} {'line' if unclear == 1 else 'lines'} too unclear to be read]"] if unclear else []
        return "\n".join((*clear, *told))
