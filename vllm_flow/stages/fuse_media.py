"""Fusing by description: what describers say of the media, as the texts that stand in their place.

Nothing is dropped silently: what nobody describes is said to the model at its place, and to the user with what was left
out of the prompt. What the model reads itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from vllm_flow.core.describing import GONE
from vllm_flow.core.descriptions import FAILED, NOTHING, NOUNS, Described, Descriptions, each_medium, named
from vllm_flow.core.errors import SourceError
from vllm_flow.core.media import Medium
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.fuse_native import not_shown, too_many

DESCRIBERS: dict[str, str] = {
    "image": "reader=rapidocr for what is written in it, tagger=imagenet for what it shows",
    "audio": "transcriber=whisper for what is said in it",
}
CHOICES = ", ".join(DESCRIBERS.values())
NATIVE = "or a model that reads it itself"


@stage("fuse/describe")
@dataclass(frozen=True)
class Describe:
    """What describers say of pictures and recordings, for `fuse/chat` to put in their place, earlier turns included.

    Each description stands in a fence, with the name of the file and how it came to be words: `seen:` by a tagger,
    `read:` by a reader, `transcript:` by one that writes down what is said.
    """

    undescribed: Literal["say", "error"] = "say"
    """What becomes of a medium of the turn that nobody describes. say: the model is told that it was there; error: the
    turn fails. One of an earlier turn is told of."""
    most: Annotated[int | None, at_least(1)] = None
    """How many characters of what one describer says; the rest is left out, and that is said. null: all."""
    images: Annotated[int | None, at_least(0)] = None
    """How many of the pictures that the model reads itself, the newest; null: all."""
    sounds: Annotated[int | None, at_least(0)] = None
    """How many of the recordings that the model hears itself, the newest; null: all."""

    def advise(
        self,
        engine: EngineOptions | None = None,
        *,
        tagger: object = None,
        reader: object = None,
        heard: object = None,
    ) -> Iterator[tuple[Path, str]]:
        reads = () if engine is None else engine.capabilities().media
        none = not reads and tagger is None and reader is None and heard is None
        if none and self.undescribed == "error":
            yield (), f"no describer is chosen, and the model reads only texts. Choose {CHOICES}, {NATIVE}."

    def run(
        self,
        turn: Turn,
        *,
        context: Context | None = None,
        engine: Engine | None = None,
        seen: Descriptions | None = None,
        read: Descriptions | None = None,
        heard: Descriptions | None = None,
    ) -> Described:
        given = [one for one in (seen, read, heard) if one is not None]
        own = () if engine is None else engine.describe().get("media", ())
        said = (*(context.messages if context is not None else turn.history), turn.message)
        asked = turn.message.media
        shown = [one for message in reversed(said) for one in reversed(message.media)]
        newest = [one for one in shown if one.kind in own and (one in asked or one.data is not None)]
        older = too_many(newest, {"image": self.images, "audio": self.sounds})
        lines, left_out = dict[str, tuple[str, ...]](), list[LeftOut]()
        for medium in each_medium(said):
            if medium in newest and medium.digest not in older:
                continue
            if any(medium.digest in one.texts for one in given):
                lines[medium.digest] = tuple(self._lines(medium, given, left_out))
                continue
            why = older.get(medium.digest) or (
                GONE if medium.kind in own else self._why(medium, given, medium in asked)
            )
            left_out.append(LeftOut("media", f"{NOUNS[medium.kind]}s", 1, f"{named(medium)}: {why}"))
            undescribed = f"[this {NOUNS[medium.kind]} could not be described]"
            lines[medium.digest] = (not_shown(medium) if medium.digest in older else undescribed,)
        return Described(lines, tuple(left_out), {one.mark: one.by for one in given})

    def _lines(self, medium: Medium, given: Sequence[Descriptions], left_out: list[LeftOut]) -> Iterator[str]:
        for one in given:
            if problem := one.problems.get(medium.digest):
                left_out.append(LeftOut("media", "descriptions", 1, f"{named(medium)}: {one.mark}: {problem}"))
                yield f"{one.mark}: {FAILED}"
            if (text := one.texts.get(medium.digest)) is None:
                continue
            if self.most is not None and len(text) > self.most:
                gone = len(text) - self.most
                left_out.append(LeftOut("media", "characters", gone, f"{named(medium)}: `most` is {self.most}"))
                text = f"{text[: self.most].rstrip()} [… {gone} characters left out]"
            yield f"{one.mark}: {text or NOTHING.get(one.mark, 'nothing')}"

    def _why(self, medium: Medium, given: Sequence[Descriptions], asked: bool) -> str:
        """It is not described. Raises SourceError where that is an error."""
        problems = [one.problems[medium.digest] for one in given if medium.digest in one.problems]
        why = problems[0] if problems else f"nothing here describes a {NOUNS[medium.kind]}"
        if asked and self.undescribed == "error":
            right = "Show it again" if problems else f"Choose {DESCRIBERS[medium.kind]}, {NATIVE}"
            raise SourceError(f"{named(medium)}: {why}. {right}.")
        return why
