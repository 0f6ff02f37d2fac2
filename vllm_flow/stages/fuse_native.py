"""Fusing natively: images and sounds stay where they were said, for a model that reads them itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.describing import GONE
from vllm_flow.core.descriptions import NOUNS, Described, each_medium, named
from vllm_flow.core.media import MediaKind, Medium
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import EngineOptions
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn


@stage("fuse/native")
@dataclass(frozen=True)
class Native:
    """The newest pictures and recordings of a conversation as they are, at their place, for `fuse/chat`.

    A model reads only so many, and each costs as much as a page. In the place of an older one it is said that it was
    there, and what is left out is told.
    """

    images: Annotated[int | None, at_least(0)] = 8
    """How many pictures at most, the newest; null: all."""
    sounds: Annotated[int | None, at_least(0)] = 8
    """How many recordings at most, the newest; null: all."""

    def advise(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        if not engine.capabilities().media:
            what = "the engine reads no images and no sounds"
            yield (), f"{what}. Choose a model that does, or have them put in words: use fuse/describe."

    def run(self, turn: Turn, *, context: Context | None = None) -> Described:
        earlier = context.messages if context is not None else turn.history
        said = (*earlier, turn.message)
        lost = [one for one in each_medium(earlier) if one.data is None and one not in turn.message.media]
        newest = [one for message in reversed(said) for one in reversed(message.media) if one not in lost]
        why = {one.digest: GONE for one in lost} | too_many(newest, {"image": self.images, "audio": self.sounds})
        gone = [one for one in each_medium(said) if one.digest in why]
        return Described(
            {one.digest: (not_shown(one),) for one in gone},
            tuple(LeftOut("media", f"{NOUNS[one.kind]}s", 1, f"{named(one)}: {why[one.digest]}") for one in gone),
        )


def not_shown(medium: Medium) -> str:
    """What stands in the place of one."""
    return f"[this {NOUNS[medium.kind]} is not shown any more]"


def too_many(newest: Sequence[Medium], most: Mapping[MediaKind, int | None]) -> dict[str, str]:
    """Digests of those that are too many, and why. Each counts once, where it was shown last."""
    found = dict[str, str]()
    for kind, count in most.items():
        digests = dict.fromkeys(one.digest for one in newest if one.kind == kind)
        noun = NOUNS[kind]
        why = f"only the newest {noun} is shown" if count == 1 else f"only the newest {count} {noun}s are shown"
        found |= {} if count is None else dict.fromkeys(list(digests)[count:], why)
    return found
