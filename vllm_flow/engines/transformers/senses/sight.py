"""Sight: all that the engine asks of a model that sees or hears, beside what it asks of every model."""

from __future__ import annotations

import asyncio

from vllm_flow.core.media import MediaKind
from vllm_flow.core.values import Prompt
from vllm_flow.engines.transformers.senses.reader import Reader
from vllm_flow.engines.transformers.senses.rendering import SeeingRenderer, media_of
from vllm_flow.engines.transformers.senses.shown import Shown
from vllm_flow.engines.transformers.senses.tower import Tower


class Sight:
    """Of one model."""

    def __init__(self, reader: Reader, renderer: SeeingRenderer, tower: Tower) -> None:
        self._reader, self._renderer, self._tower = reader, renderer, tower

    @property
    def kinds(self) -> frozenset[MediaKind]:
        return self._reader.kinds

    async def prepare(self, prompt: Prompt, tenant: str) -> None:
        """Decode and process its media beside the engine's thread, which then finds that done. Raises what that does.

        So answers in the making do not wait for a large picture.
        """
        if media_of(prompt):
            await asyncio.to_thread(self._renderer.view, prompt, tenant)

    def shown(self, prompt: Prompt, tenant: str) -> Shown | None:
        """None for a prompt of texts alone. Raises what rendering it does."""
        if not media_of(prompt):
            return None
        view = self._renderer.view(prompt, tenant)
        filled = [self._reader.spread(one.medium, tenant).filled for one in view.media]
        return Shown(view, filled, self._tower, tenant)
