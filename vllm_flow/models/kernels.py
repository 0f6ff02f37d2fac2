"""Bounds how many of the CPU's matrix kernels stay in memory: code for every shape of a product, and so for every
number of rows that a step ever had, which with SmolLM2 is 2 MB each.

Two caches hold them, oneDNN's and that of the layer through which PyTorch calls it (ideep), a thousand each by itself.
Both read how many it is to be when they hold their first.
"""

from __future__ import annotations

from collections.abc import MutableMapping

KERNELS = {
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"): "128",
    ("LRU_CACHE_CAPACITY",): "16",
}
"""For each cache the names by which it may be told, and how many it is to hold. A step of SmolLM2 needs six.

Making one takes a third of a millisecond; taking it from oneDNN's cache, when ideep's does not have it, microseconds.
"""


def keep_fewer_kernels(environment: MutableMapping[str, str]) -> None:
    """To be called before the first product. Whoever has said how many is left alone; later processes inherit it."""
    for names, count in KERNELS.items():
        if not any(name in environment for name in names):
            environment[names[0]] = count
