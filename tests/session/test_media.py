"""Images and sounds said from Python."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from vllm_flow import Image, load, read_medium, user


def test_a_message_shows_what_the_gate_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    PIL.Image.new("RGB", (4, 3), "red").save("cat.png")
    with load("dialogue", ["engine=echo"], record=False) as session:
        result = session.run(user("What is it?", read_medium("cat.png")))
    (image,) = result.turn.message.media
    assert isinstance(image, Image)
    assert (image.width, image.height, image.source) == (4, 3, "cat.png")
