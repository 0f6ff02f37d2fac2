"""Images: from the bytes of a file to upright RGB pixels, and back from the value to pixels.

What a model sees are pixels, so nothing else stays: what is transparent shows white, of 16 bits the higher 8 stay, and
colour profiles are left out unapplied, as in the preparation that models were trained with.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from vllm_flow.core.errors import MediaError
from vllm_flow.core.media import Image
from vllm_flow.media.bare import Bare, bare, orientation
from vllm_flow.media.formats import Format, expect
from vllm_flow.media.limits import DEFAULT, Limits, check_bytes, named, reason

if TYPE_CHECKING:
    import PIL.Image
    from PIL.ImageFile import ImageFile

STRIP_PIXELS = 2**16
"""How many pixels are hashed at a time."""
COMPRESSION = 3
"""Of zlib."""


def image_from(data: bytes, source: str, limits: Limits = DEFAULT) -> Image:
    """An image from the bytes of a PNG, JPEG or WEBP file, told by its content. source: its name, for people.

    Of an animation it is the first frame, and the value knows how many there were. Equal pixels have equal digests,
    whatever file they come from. Raises MediaError.
    """
    where = named(source, "image")
    check_bytes(len(data), where, limits)
    found = expect(data, "image", where)
    plain = bare(data, found)
    shown, frames = _decoded(plain, found, where, limits)
    width, height = shown.size
    return Image(_digest(shown), width, height, source, _encoded(shown), frames)


def pixels(image: Image) -> PIL.Image.Image:
    """Its pixels, RGB. Raises MediaError when only its name is known."""
    where = named(image.source, "image")
    if image.data is None:
        raise MediaError(f"{where}: only the digest of this image is known here. Give the image again.")
    shown, _ = _decoded(Bare(image.data), expect(image.data, "image", where), where, None)
    return shown


def _decoded(plain: Bare, found: Format, where: str, limits: Limits | None) -> tuple[PIL.Image.Image, int]:
    """Upright RGB pixels, and how many frames there are."""
    try:
        opened = _opened(plain.data, found)
    except Exception as error:  # decoders raise what they like of bytes that they cannot read
        raise _unreadable(where, found, error) from None
    with opened:
        width, height = opened.size
        if limits and width * height > limits.max_pixels:
            what = f"it has {width} × {height} pixels, and at most {limits.max_pixels:,} are read"
            raise MediaError(f"{where}: {what}. Make it smaller, or raise max_pixels.")
        try:
            opened.load()
            exif = plain.exif or opened.info.get("exif", b"")
            frames = getattr(opened, "n_frames", 1) if found == "WEBP" else plain.frames
            shown = _upright(_rgb(opened, plain.bits), orientation(exif))
        except Exception as error:
            raise _unreadable(where, found, error) from None
    shown.info.clear()
    return shown, frames


def _unreadable(where: str, found: Format, error: Exception) -> MediaError:
    from PIL.Image import DecompressionBombError

    if isinstance(error, DecompressionBombError):  # of a WEBP, whose decoder looks before ours can
        return MediaError(f"{where}: it has more pixels than are read of a {found}. Make it smaller.")
    return MediaError(f"{where}: it cannot be decoded as {found}{reason(error)}. Save it anew, whole, as a PNG.")


def _opened(data: bytes, found: Format) -> ImageFile:
    """The decoder itself: Pillow's `open` has limits of its own, which are one for the whole process."""
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    decoder: Callable[[io.BytesIO], ImageFile] = {"PNG": PngImageFile, "JPEG": JpegImageFile, "WEBP": WebPImageFile}[
        found
    ]
    return decoder(io.BytesIO(data))


def _rgb(opened: PIL.Image.Image, bits: int) -> PIL.Image.Image:
    shown = _eight_bits(opened) if opened.mode.startswith("I") else opened
    key = opened.info.get("transparency")
    if key is not None and shown.mode in ("L", "RGB"):
        shown.info["transparency"] = _key_of_8_bits(key, bits)
    if shown.mode in ("RGBA", "LA", "PA") or key is not None:
        return _on_white(shown.convert("RGBA"))
    return shown if shown.mode == "RGB" else shown.convert("RGB")


def _eight_bits(opened: PIL.Image.Image) -> PIL.Image.Image:
    """Grey of 16 bits, as its higher 8, which is what the decoder makes of colours of 16 bits."""
    import numpy as np
    import PIL.Image

    return PIL.Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))


def _key_of_8_bits(key: int | tuple[int, ...], bits: int) -> int | tuple[int, ...]:
    """The colour that is transparent, as wide as the decoded pixels: the file has it as wide as its own."""
    if isinstance(key, tuple):
        return tuple(one >> 8 for one in key) if bits == 16 else key
    return key >> 8 if bits == 16 else key * 255 // (2**bits - 1)


def _on_white(shown: PIL.Image.Image) -> PIL.Image.Image:
    import PIL.Image

    white = PIL.Image.new("RGB", shown.size, "white")
    white.paste(shown, mask=shown)
    return white


def _upright(shown: PIL.Image.Image, turned: int) -> PIL.Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return shown.transpose(turns[turned]) if turned in turns else shown


def _digest(shown: PIL.Image.Image) -> str:
    width, height = shown.size
    digest = hashlib.sha256(f"RGB {width} {height}\n".encode("ascii"))
    step = max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        digest.update(shown.crop((0, top, width, min(height, top + step))).tobytes())
    return digest.hexdigest()


def _encoded(shown: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    shown.save(file, "PNG", compress_level=COMPRESSION)
    return file.getvalue()
