"""Hearing: windows are written down, and what goes wrong is written down anew at rising temperature.

Two ways to go wrong can be told from what was written (arXiv:2212.04356, section 4.5): the same words again and again,
which pack into little, and words of which the model is unsure. Where no temperature helps, the best of all is kept, and
doubted. The draws are the same each time and for every window, so a text depends on its window alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vllm_flow.transcribers.decoding import Decoder, Row

if TYPE_CHECKING:
    from vllm_flow.transcribers.options import Whisper

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""After 0."""
UNSURE = -0.7
"""What tiny.en makes up of silence, noise, hum and chimes, mostly `you`, has a mean natural log-probability of -0.78 at
best. OpenAI's own threshold, -1, lets that pass."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was written down of a window."""

    ids: tuple[int, ...] | None
    """None: nobody speaks."""
    doubt: str | None = None
    """Why it may not be what is said, where it went wrong at every temperature."""


@dataclass(frozen=True, slots=True)
class _Try:
    row: Row
    silent: bool
    ratio: float
    """How many times as long its text is as the same text packed."""
    repeats: bool
    unsure: bool

    @property
    def sound(self) -> bool:
        return self.silent or not (self.repeats or self.unsure)


class Hearing:
    """Judges what a decoder wrote down, and has it written down anew."""

    def __init__(self, options: Whisper, decoder: Decoder, tokenizer: Any) -> None:
        self._options, self._decoder, self._tokenizer = options, decoder, tokenizer

    def of(self, states: Sequence[Any], languages: Sequence[str | None], tasks: Sequence[str]) -> list[Heard]:
        """Of the states of several windows, each of shape (1, positions, width). Raises Stopped."""
        tries: list[list[_Try]] = [[] for _ in states]
        for temperature in (0.0, *TEMPERATURES):
            again = [place for place, made in enumerate(tries) if not made or not made[-1].sound]
            if not again:
                break
            given = torch.cat([states[place] for place in again])
            asked = [languages[place] for place in again], [tasks[place] for place in again]
            for place, row in zip(again, self._decoder.write(given, *asked, temperature), strict=True):
                tries[place].append(self._judged(row, first=not tries[place]))
        return [self._best(made) for made in tries]

    def _judged(self, row: Row, *, first: bool) -> _Try:
        options, text = self._options, self._tokenizer.decode(row.ids, skip_special_tokens=True)
        most, least, written = options.compression_ratio_threshold, options.logprob_threshold, text.strip().encode()
        ratio = len(written) / len(zlib.compress(written))
        # Neither of both says it alone: speech that begins late in a window looks like silence at first. And only what
        # is most probable says it: what is drawn is the less sure the higher the temperature.
        wordless = row.sureness < UNSURE or not any(map(str.isalnum, text))
        silent = first and wordless and row.silence > options.silence
        return _Try(row, silent, ratio, most is not None and ratio > most, least is not None and row.sureness < least)

    def _best(self, tries: Sequence[_Try]) -> Heard:
        last = tries[-1]
        if last.sound:
            return Heard(None if last.silent else last.row.ids)
        best = max(tries, key=lambda one: (not one.repeats, one.row.sureness))
        if best.repeats:
            return Heard(best.row.ids, f"the same words again and again, {best.ratio:.1f} times as long as packed")
        return Heard(best.row.ids, f"the model is unsure, with a mean log-probability of {best.row.sureness:.2f}")
