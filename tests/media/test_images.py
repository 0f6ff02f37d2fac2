"""Pictures at the gate: what is equal, what becomes of modes, turns, alpha and frames, and what is refused, in words."""

from __future__ import annotations

import io
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from tests.media.making import chunk, colours, encoded, png, recorded
from vllm_flow.core.media import Image
from vllm_flow.media import Limits, MediaError, image_from, pixels
from vllm_flow.testing.media import picture

SHOWN = colours()


def seen(image: Image) -> list[list[list[int]]]:
    return np.asarray(pixels(image)).tolist()


def test_equal_pixels_are_equal_whatever_lossless_file_they_come_from() -> None:
    profile = b"\0" * 200
    files = [
        encoded(SHOWN, "PNG"),
        encoded(SHOWN, "PNG", compress_level=0, icc_profile=profile),
        encoded(SHOWN, "WEBP", lossless=True),
        encoded(SHOWN.convert("RGBA"), "PNG"),
    ]
    images = [image_from(data, f"{number}") for number, data in enumerate(files)]
    assert len(set(images)) == len({image.digest for image in images}) == len({image.data for image in images}) == 1
    assert (images[0].width, images[0].height, images[0].of_frames, images[0].source) == (7, 5, 1, "0")
    assert seen(images[0]) == np.asarray(SHOWN).tolist()


def test_the_digest_is_over_shape_and_pixels() -> None:
    tall, wide = (PIL.Image.new("RGB", size, "red") for size in ((2, 6), (6, 2)))
    other = PIL.Image.new("RGB", (2, 6), "#fe0000")
    assert len({image_from(encoded(one, "PNG"), "x").digest for one in (tall, wide, other)}) == 3
    assert (
        image_from(encoded(tall, "PNG"), "x").digest
        == "02ad27f6d7c188bf1f03ff526e593626053b9bb2de60bcd8d5e3bae7e0cfaddd"
    )


def test_the_picture_is_carried_as_a_png_without_anything_else() -> None:
    exif = PIL.Image.Exif()
    exif[0x010F] = "Maker of cameras"
    given = encoded(SHOWN, "JPEG", exif=exif, comment=b"a secret", icc_profile=b"p" * 300, dpi=(300, 300))
    image = image_from(given, "x.jpg")
    assert image.data is not None
    assert re.findall(rb"[A-Z]{4}|[a-zA-Z]{4}(?=\0)", image.data[:64]) == [b"IHDR", b"IDAT"]
    assert not PIL.Image.open(io.BytesIO(image.data)).info
    assert image_from(image.data, "x.png") == image


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_what_a_camera_says_of_its_position_is_applied(form: str, turned: int) -> None:
    """Two halves of one colour each survive JPEG; Pillow's own turning is the reference."""
    halves = PIL.Image.new("RGB", (32, 16), "#ff0000")
    halves.paste("#0000ff", (0, 0, 8, 16))
    halves.paste("#00ff00", (8, 0, 32, 8))
    exif = PIL.Image.Exif()
    exif[0x0112] = turned
    with PIL.Image.open(io.BytesIO(encoded(halves, form, exif=exif))) as opened:
        from PIL.ImageOps import exif_transpose

        expected = np.asarray(exif_transpose(opened).convert("RGB"))
    assert np.array_equal(np.asarray(pixels(image_from(encoded(halves, form, exif=exif), "x"))), expected)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0",
    ],
)
def test_notes_of_a_camera_that_cannot_be_read_turn_nothing_and_warn_of_nothing(exif: bytes) -> None:
    plain = image_from(encoded(SHOWN, "JPEG"), "x")
    assert image_from(encoded(SHOWN, "JPEG", exif=b"Exif\0\0" + exif), "x") == plain


def test_of_an_animation_the_first_frame_is_taken_and_the_value_tells_how_many_there_were() -> None:
    more = [SHOWN.rotate(90), SHOWN.rotate(180)]
    for form, how in (("PNG", {}), ("WEBP", {"lossless": True})):
        image = image_from(encoded(SHOWN, form, save_all=True, append_images=more, **how), "x")
        assert (image.of_frames, seen(image)) == (3, np.asarray(SHOWN).tolist())
    broken = encoded(SHOWN, "PNG").replace(b"IDAT", b"IDAT", 1)
    broken = broken[:33] + chunk(b"acTL", bytes(8)) + broken[33:]
    assert image_from(broken, "x").of_frames == 1


def test_what_is_transparent_shows_white() -> None:
    half = PIL.Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    assert seen(image_from(encoded(half, "PNG"), "x")) == [[[255, 127, 127]]]
    grey = PIL.Image.new("LA", (1, 1), (0, 0))
    assert seen(image_from(encoded(grey, "PNG"), "x")) == [[[255, 255, 255]]]
    key = (b"tRNS", struct.pack(">3H", 1, 2, 3))
    assert seen(image_from(png(2, 8, 2, bytes([1, 2, 3, 4, 5, 6]), key), "x")) == [[[255, 255, 255], [4, 5, 6]]]


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, bytes([0b01000000]), 1, [0, 255, 0]),
        (2, bytes([0b00011000]), 2, [0, 85, 255]),
        (4, bytes([0x01, 0x20]), 2, [0, 17, 255]),
        (8, bytes([1, 2, 3]), 2, [1, 255, 3]),
        (16, struct.pack(">3H", 0x1234, 0x5678, 0xFFFF), 0x5678, [0x12, 255, 255]),
    ],
)
def test_grey_of_any_depth_is_read_and_the_shade_that_is_transparent_in_it(
    depth: int, row: bytes, key: int, expected: list[int]
) -> None:
    image = image_from(png(3, depth, 0, row, (b"tRNS", struct.pack(">H", key))), "x")
    assert seen(image) == [[[one] * 3 for one in expected]]


def test_palettes_inks_and_16_bits_become_rgb() -> None:
    palette = SHOWN.quantize(4)
    assert seen(image_from(encoded(palette, "PNG"), "x")) == np.asarray(palette.convert("RGB")).tolist()
    clear = encoded(palette, "PNG", transparency=bytes([0, 255, 255, 255]))
    (white,) = {tuple(one) for one in np.asarray(pixels(image_from(clear, "x")))[np.asarray(palette) == 0]}
    assert white == (255, 255, 255)
    inks = PIL.Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert seen(image_from(encoded(inks, "JPEG", quality=100), "x"))[0][0] == [0, 255, 255]
    deep = png(1, 16, 2, struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    assert seen(image_from(deep, "x")) == [[[0x12, 0x56, 0x9A]]]


def test_pixels_are_counted_before_they_are_decoded() -> None:
    bomb = png(50_000, 8, 2, b"")
    bomb = bomb[:20] + struct.pack(">I", 50_000) + bomb[24:]
    bomb = bomb[:29] + chunk(b"IHDR", bomb[16:29])[-4:] + bomb[33:]
    with pytest.raises(MediaError) as told:
        image_from(bomb, "bomb.png")
    assert str(told.value) == (
        "bomb.png: it has 50000 × 50000 pixels, and at most 40,000,000 are read. Make it smaller, or raise max_pixels."
    )
    assert image_from(encoded(SHOWN, "PNG"), "x", Limits(max_pixels=35)).width == 7
    with pytest.raises(MediaError, match="it has 7 × 5 pixels, and at most 34 are read"):
        image_from(encoded(SHOWN, "PNG"), "x", Limits(max_pixels=34))


def test_a_webp_that_unfolds_to_too_much_is_refused_before_its_decoder_takes_the_room() -> None:
    given = bytearray(encoded(SHOWN.convert("RGBA"), "WEBP", lossless=True, exif=b"Exif\0\0" + b"x" * 20))
    assert given[12:16] == b"VP8X"
    given[24:30] = (16_382).to_bytes(3, "little") * 2
    with pytest.raises(MediaError) as told:
        image_from(bytes(given), "x.webp")
    assert str(told.value) == "x.webp: it has more pixels than are read of a WEBP. Make it smaller."


def test_the_limits_of_the_decoder_for_the_whole_process_are_neither_asked_nor_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100_000)
    large = PIL.Image.new("RGB", (1000, 400), "red")
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(image_from, [encoded(large, "PNG"), encoded(large, "JPEG")] * 4, ["x"] * 8))
    assert len(set(images[::2])) == 1
    assert PIL.Image.MAX_IMAGE_PIXELS == 100_000
    assert pixels(images[0]).size == (1000, 400)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "x: it is empty. Give an image or a sound."),
        (
            b"GIF89a and more",
            "x: it is not an image (PNG, JPEG, WEBP). Convert it, or give an image (PNG, JPEG, WEBP).",
        ),
        (
            recorded(np.zeros(9), "WAV", "PCM_16"),
            "x: it is a sound (WAV). Give an image (PNG, JPEG, WEBP).",
        ),
        (
            encoded(SHOWN, "PNG")[:-40],
            "x: it cannot be decoded as PNG (image file is truncated). Save it anew, whole, as a PNG.",
        ),
        (
            encoded(SHOWN, "JPEG")[:-40],
            "x: it cannot be decoded as JPEG (image file is truncated (25 bytes not processed)). Save it anew, whole, as a PNG.",
        ),
        (
            encoded(SHOWN, "WEBP")[:-40],
            "x: it cannot be decoded as WEBP (could not create decoder object). Save it anew, whole, as a PNG.",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(data: bytes, problem: str) -> None:
    with pytest.raises(MediaError) as told:
        image_from(data, "x")
    assert str(told.value) == problem


def test_a_name_with_line_ends_stays_in_one_line_and_no_name_has_one() -> None:
    with pytest.raises(MediaError, match=r"^'a\\nb.png': it is empty\."):
        image_from(b"", "a\nb.png")
    with pytest.raises(MediaError, match=r"^image: it is empty"):
        image_from(b"", "")


def test_a_picture_that_is_only_known_by_its_digest_has_no_pixels() -> None:
    image = replace(image_from(picture(), "x.png"), data=None)
    with pytest.raises(MediaError) as told:
        pixels(image)
    assert str(told.value) == "x.png: only the digest of this image is known here. Give the image again."
