"""Reading: an image or a sound, whichever it is, from bytes or from a file in the declared places.

What somebody still holds is not decoded again: the points of a sweep go through the same rows abreast, and decoding a
photograph takes a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from vllm_flow.core.errors import MediaError, SourceError
from vllm_flow.core.media import Medium
from vllm_flow.core.places import found
from vllm_flow.media.formats import IMAGES, KINDS, SOUNDS, format_of
from vllm_flow.media.images import image_from
from vllm_flow.media.limits import DEFAULT, Limits, check_bytes, named
from vllm_flow.media.sounds import audio_from

_held: WeakValueDictionary[tuple[bytes, str, Limits], Medium] = WeakValueDictionary()
"""By what it was read from: a digest of the bytes, the name, the limits."""


def medium_from(data: bytes, source: str, limits: Limits = DEFAULT) -> Medium:
    """Which of both it is, is told by its content. Raises MediaError."""
    where = named(source, "medium")
    check_bytes(len(data), where, limits)
    if (held := _held.get(key := (hashlib.sha256(data).digest(), source, limits))) is not None:
        return held
    of = format_of(data)
    if of is None:
        what = f"it is neither {IMAGES} nor {SOUNDS}"
        raise MediaError(f"{where}: {what}. Convert it to one of these.")
    medium = image_from(data, source, limits) if KINDS[of] == "image" else audio_from(data, source, limits)
    _held[key] = medium
    return medium


def read_medium(path: str | Path, roots: Sequence[str | Path] = (), limits: Limits = DEFAULT) -> Medium:
    """From a file in the working directory or in one of the roots. Raises MediaError, also for a link out of them."""
    return medium_from(read_bytes(path, roots, limits), str(path), limits)


def read_bytes(path: str | Path, roots: Sequence[str | Path], limits: Limits) -> bytes:
    """As `read_medium`, and what is in the file is not looked at."""
    where = named(str(path), "medium")
    try:
        place = found(str(path), tuple(map(str, roots)))
    except SourceError as error:
        raise MediaError(str(error)) from None
    if not place.is_file():  # a pipe or a device would be waited for
        raise MediaError(f"{where}: it is no file. Name a file.")
    try:
        with place.open("rb") as file:
            check_bytes(place.stat().st_size, where, limits)
            return file.read(limits.max_bytes + 1)
    except OSError as error:
        raise MediaError(f"{where}: it cannot be read ({error.strerror}). Make it readable.") from None
