"""The index of a large collection: its vectors as one matrix, made once for each embedder that is open.

It is filled block by block, so that beside the matrix little memory is taken, and so that of an embedder that keeps
vectors of documents an interruption loses one block. The matrix goes with its embedder.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from vllm_flow.core.embedding import Embedder

if TYPE_CHECKING:
    from vllm_flow.core.embedding import Vectors

BLOCK = 4_096
"""In texts."""
MOST = 4
"""So many matrices are kept for one embedder; the one that was asked for longest ago goes first."""
_made: WeakKeyDictionary[Embedder, OrderedDict[str, Vectors]] = WeakKeyDictionary()
_making: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def index(digest: str, texts: Sequence[str], embedder: Embedder) -> Vectors:
    """The vectors of all texts, (texts, width); `digest` says which texts these are."""
    known = _made.setdefault(embedder, OrderedDict())
    async with _making.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if digest not in known:
            known[digest] = await _matrix(texts, embedder)
        known.move_to_end(digest)
        while len(known) > MOST:
            known.popitem(last=False)
        return known[digest]


async def _matrix(texts: Sequence[str], embedder: Embedder) -> Vectors:
    import numpy

    first = await embedder.embed(texts[:BLOCK], keep=True)
    made = numpy.empty((len(texts), first.shape[1]), dtype=numpy.float32)
    made[: len(first)] = first
    for start in range(BLOCK, len(texts), BLOCK):
        made[start : start + BLOCK] = await embedder.embed(texts[start : start + BLOCK], keep=True)
    return made
