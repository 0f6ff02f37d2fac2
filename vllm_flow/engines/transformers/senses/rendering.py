"""Rendering prompts with media: the tokens that the model's template makes of them, each medium's in its place.

The template writes one mark for each medium. It is found among the tokens, not in the text, and becomes what the
model's processor makes of that medium.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Measured
from vllm_flow.core.media import MediaKind, Medium
from vllm_flow.core.messages import Part
from vllm_flow.core.values import Prompt
from vllm_flow.engines.recent import Recent, Whose
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.senses.reader import Reader


@dataclass(frozen=True)
class Placed:
    """A medium in a prompt."""

    medium: Medium
    start: int
    """Its first token's place."""


@dataclass(frozen=True)
class View:
    """A prompt as the model reads it."""

    ids: Sequence[int]
    media: tuple[Placed, ...]


class SeeingRenderer:
    """Renders prompts with and without media. From any thread."""

    def __init__(self, texts: Renderer, reader: Reader) -> None:
        self._texts, self._reader = texts, reader
        self._marks = reader.marks
        self._view = Recent[Whose, View](lambda whose: self._view_now(*whose), lambda view: len(view.ids), light=_light)

    @property
    def kinds(self) -> frozenset[MediaKind]:
        return self._reader.kinds

    @property
    def begin(self) -> int | None:
        return self._texts.begin

    def ids(self, prompt: Prompt, tenant: str | None = None) -> list[int]:
        """The prompt's token ids, at least one. Raises EngineError for what the template or the processor refuses."""
        return list(self.view(prompt, tenant).ids) if media_of(prompt) else self._texts.ids(prompt, tenant)

    def view(self, prompt: Prompt, tenant: str | None = None) -> View:
        """As `ids`, with where each medium is."""
        found = self._view_now(None, prompt) if tenant is None else self._view((tenant, prompt))
        given = {one: one for one in media_of(prompt)}
        return View(found.ids, tuple(replace(one, medium=given[one.medium]) for one in found.media))

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        """What each part of the prompt takes of `ids`: of a medium all that its processor writes."""
        if not media_of(prompt):
            return self._texts.measure(prompt, tenant)
        of_texts = self._texts.measure(without_data(prompt), tenant)
        lengths = {one: len(self._reader.spread(one, tenant).ids) for one in media_of(prompt)}
        parts = tuple(
            tuple(lengths.get(part, count) if isinstance(part, Medium) else count for part, count in pairs)
            for pairs in (zip(m.parts, n, strict=True) for m, n in zip(prompt.messages, of_texts.parts, strict=True))
        )
        return Measured(len(self.view(prompt, tenant).ids), parts, of_texts.tools)

    def text(self, prompt: Prompt) -> str:
        """What is read, with one mark for each medium."""
        return self._texts.text(prompt)

    def encode(self, text: str) -> list[int]:
        return self._texts.encode(text)

    def text_ids(self, text: str) -> list[int]:
        return self._texts.text_ids(text)

    def _view_now(self, tenant: str | None, prompt: Prompt) -> View:
        unspread, media = self._texts.ids(without_data(prompt), tenant), media_of(prompt)
        left = {kind: [one for one in media if one.kind == kind] for kind in self._marks.values()}
        _check_marks([self._marks[one] for one in unspread if one in self._marks], media)
        ids, placed = array("q"), list[Placed]()
        for one in unspread:
            if (kind := self._marks.get(one)) is None:
                ids.append(one)
                continue
            medium = left[kind].pop(0)
            placed.append(Placed(replace(medium, data=None), len(ids)))
            ids.extend(self._reader.spread(medium, tenant).ids)
        return View(ids, tuple(placed))


def without_data(prompt: Prompt) -> Prompt:
    """As much of it as is remembered: what its media look or sound like may be of megabytes."""

    def light(part: Part) -> Part:
        return replace(part, data=None) if isinstance(part, Medium) else part

    return replace(prompt, messages=tuple(replace(one, parts=tuple(map(light, one.parts))) for one in prompt.messages))


def _light(whose: Whose) -> Whose:
    return whose[0], without_data(whose[1])


def media_of(prompt: Prompt) -> list[Medium]:
    """In the order in which they were said."""
    return [medium for message in prompt.messages for medium in message.media]


def _check_marks(found: Sequence[MediaKind], media: Sequence[Medium]) -> None:
    """Raises EngineError unless there is a mark for each medium, and no other."""
    for kind in sorted({*found, *(one.kind for one in media)}):
        marks, there = found.count(kind), sum(one.kind == kind for one in media)
        if marks > there:
            what = f"prompt: a text in it spells the model's own mark of {kind}"
            raise EngineError(f"{what}. Write it otherwise.")
        if marks < there:
            what = f"prompt: the model's chat template has a place for {marks} of its {there} media of the kind {kind}"
            raise EngineError(f"{what}. Let the user say them, or choose another model.")
