"""A stream: one answer as it is made, for whoever loops over it, blocking or not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from vllm_flow.core.errors import FlowError
from vllm_flow.core.results import Result, TurnFailed
from vllm_flow.session.background import Background


class Stream:
    """One answer as it is made: its text in pieces, by `for` or `async for`, and afterwards its `result`.

    The turn begins with the first piece. Pieces come as they are made where the output node makes them, and as one
    whole where it does not, for a best of several or a checked answer. They wait for a slow reader: as many as the
    answer has, which `sampling.max_tokens` bounds. Leaving the loop early interrupts the turn. Raises TurnFailed after
    the last piece when there is no answer.
    """

    def __init__(self, background: Background, items: AsyncGenerator[str | Result, None], session: object) -> None:
        self._background = background
        self._items = items
        self._session = session  # kept, so that it is not forgotten, and closed, while this goes on
        self._result: Result | None = None

    @property
    def result(self) -> Result:
        """The whole answer. Raises FlowError before the last piece has been taken."""
        if self._result is None:
            raise FlowError("stream.result: the answer has not been read to its end. Loop over the stream first.")
        return self._result

    def __iter__(self) -> Iterator[str]:
        try:
            while (piece := self._background.run(self._next)) is not None:
                yield piece
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            while (piece := await self._background.arun(self._next)) is not None:
                yield piece
        finally:
            await self.aclose()

    def close(self) -> None:
        """Interrupt the turn unless it has ended. Leaving a loop does this by itself."""
        with contextlib.suppress(FlowError):  # the session is closed, and so is this
            self._background.run(self._items.aclose)

    async def aclose(self) -> None:
        """`close`, awaited."""
        with contextlib.suppress(FlowError):
            await self._background.arun(self._items.aclose)

    async def _next(self) -> str | None:
        item = await anext(self._items, None)
        if not isinstance(item, Result):
            return item
        self._result = item
        if item.failure is not None:
            raise TurnFailed(item)
        return None
