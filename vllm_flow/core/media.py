"""Media: a picture or a sound as a value. What it is, is what a model would see or hear of it, not the file it came in.

So its identity is a digest of its content with shape and mode, and it is carried in one canonical form, without what
else the file had to tell, such as where a photograph was taken. Only the gate (vllm_flow/media) makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

MediaKind = Literal["image", "audio"]
A_KIND = {"image": "an image", "audio": "a sound"}
"""In a sentence."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Image:
    """A picture: RGB, upright, its first frame."""

    digest: str
    """SHA-256 of size and pixels, in hexadecimal digits."""
    width: int
    """In pixels."""
    height: int
    source: str = field(default="", compare=False)
    """What it was called by whoever gave it, for people."""
    data: bytes | None = field(default=None, compare=False, repr=False)
    """As PNG; None where no more is known than which one it is."""
    of_frames: int = field(default=1, compare=False)
    """How many pictures its file had. This is the first of them."""

    kind: ClassVar[MediaKind] = "image"

    @property
    def text(self) -> str:
        """Nothing is written in it."""
        return ""

    @property
    def shown(self) -> str:
        """What stands for it in a text."""
        return f"[image {self.source or f'{self.width}×{self.height}'}]"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Audio:
    """A sound: one channel, at the rate it was recorded with."""

    digest: str
    """SHA-256 of rate and samples, in hexadecimal digits."""
    sample_rate_hz: int
    frames: int
    """How many samples there are."""
    source: str = field(default="", compare=False)
    """What it was called by whoever gave it, for people."""
    data: bytes | None = field(default=None, compare=False, repr=False)
    """As FLAC; None where no more is known than which one it is."""

    kind: ClassVar[MediaKind] = "audio"

    @property
    def text(self) -> str:
        """Nothing is written in it."""
        return ""

    @property
    def shown(self) -> str:
        """What stands for it in a text."""
        return f"[audio {self.source or f'{self.seconds:.1f} s'}]"

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate_hz


Medium = Image | Audio
