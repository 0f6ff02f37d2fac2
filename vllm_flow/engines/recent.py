"""What was computed last, by what it was computed of, and no more of it than so many tokens.

Of a prompt the key says whose it is as well: no answer comes sooner for what another tenant has asked.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from vllm_flow.core.values import Prompt

Whose = tuple[str, Prompt]
"""A prompt, and before it the tenant."""
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
TOKENS = 2**20
"""All together; of each some ten bytes are kept."""


class Recent(Generic[K, V]):
    """A function that is asked for the same thing by several, one soon after the other. From any thread."""

    def __init__(
        self,
        compute: Callable[[K], V],
        tokens: Callable[[V], int],
        most: int = TOKENS,
        light: Callable[[K], K] = lambda key: key,
    ) -> None:
        """tokens: of a value. What `compute` raises is not kept. light: an equal key that holds less, to be kept."""
        self._compute, self._tokens, self._most, self._light = compute, tokens, most, light
        self._known: OrderedDict[K, V] = OrderedDict()
        self._held = 0
        self._door = threading.Lock()

    def __call__(self, key: K) -> V:
        with self._door:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        value = self._compute(key)
        with self._door:
            if key not in self._known:
                self._known[self._light(key)] = value
                self._held += self._tokens(value)
            while self._held > self._most and len(self._known) > 1:
                _, gone = self._known.popitem(last=False)
                self._held -= self._tokens(gone)
        return value
