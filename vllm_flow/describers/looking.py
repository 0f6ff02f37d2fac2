"""Looking at pictures: one after the other, in a thread of its own, each once.

What is looked for depends on the picture alone, so it is remembered by the picture's digest; sixteen points of a sweep
that ask about one picture have it described once, whichever of them asks first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from vllm_flow.core.describing import opening
from vllm_flow.core.media import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Found = TypeVar("Found")


class Looking(Generic[Found]):
    """For any event loop. What is remembered of one tenant's pictures makes no other's answer come sooner."""

    def __init__(self, what: str, look: Callable[[Picture], Found], remembered: int) -> None:
        """what: for the thread's name. remembered: of how many pictures."""
        self._look, self._remembered = look, remembered
        self._known: OrderedDict[tuple[str, str], Found] = OrderedDict()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"vllm-flow {what}")

    async def __call__(self, image: Image, tenant: str) -> Found:
        """Raises NotDescribed for a picture whose content is gone or broken."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._found, image, tenant)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _found(self, image: Image, tenant: str) -> Found:
        key = (tenant, image.digest)
        if key not in self._known:
            self._known[key] = self._look(self._picture(image))
        self._known.move_to_end(key)
        found = self._known[key]
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return found

    def _picture(self, image: Image) -> Picture:
        from vllm_flow.media import pixels

        with opening(image):
            return pixels(image)
