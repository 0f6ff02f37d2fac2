"""The heap: memory that was freed goes back to the system, where it would be kept for later.

glibc keeps what is below its threshold, which grows with what a program frees: some 200 MB after loading SmolLM2, and
as much again after long prompts.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def give_back() -> None:
    """Takes about a millisecond; nothing happens where there is no glibc."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
