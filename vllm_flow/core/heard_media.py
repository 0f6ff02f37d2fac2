"""What a stage was told of a picture or of a recording: recorded, to be told again.

Unlike the web, a describer may be asked anew when a turn is told again and goes another way: it does nothing, and what
it says depends on the medium alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vllm_flow.core.describing import Line, NotDescribed, Tag
from vllm_flow.core.heard import Bound
from vllm_flow.core.media import Image


class BoundDescriber(Bound):
    """What it said, and what it could not describe, in the order in which it was asked; for the turn's own tenant."""

    async def _told(self, asked: Any, live: Callable[[], Awaitable[Any]]) -> Any:
        """JSON, as it is recorded; and so is what was asked. Raises NotDescribed."""
        then, place = self._then(), len(self.said)
        self.said.append(None)
        if isinstance(then, Mapping) and then.get("asked") == asked and then.keys() & {"told", "error"}:
            answer: Any = then
        else:
            try:
                answer = {"asked": asked, "told": await live()}
            except NotDescribed as problem:
                answer = {"asked": asked, "error": str(problem)}
        self.said[place] = answer
        if "error" in answer:
            raise NotDescribed(answer["error"])
        return answer["told"]


class BoundTagger(BoundDescriber):
    method = "tags"

    async def tags(self, image: Image, *, tenant: str = "") -> tuple[Tag, ...]:
        async def live() -> Any:
            found = await self._live.tags(image, tenant=self._turn.tenant)
            return [[one.label, one.probability] for one in found]

        return tuple(Tag(label, probability) for label, probability in await self._told(image.digest, live))


class BoundPageReader(BoundDescriber):
    method = "read"

    async def read(self, image: Image, *, tenant: str = "") -> tuple[Line, ...]:
        async def live() -> Any:
            found = await self._live.read(image, tenant=self._turn.tenant)
            return [[one.text, list(one.box), one.confidence] for one in found]

        return tuple(
            Line(text, (box[0], box[1], box[2], box[3]), confidence)
            for text, box, confidence in await self._told(image.digest, live)
        )
