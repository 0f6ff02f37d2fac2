"""A recording while it is heard: its windows, what has been written down of them, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy

from vllm_flow.core.media import Audio
from vllm_flow.core.transcripts import Doubt, Spoken, Task, Transcript
from vllm_flow.transcribers.hearing import Heard
from vllm_flow.transcribers.joining import joined
from vllm_flow.transcribers.loading import Loaded
from vllm_flow.transcribers.windows import Piece, Window, rest, told, windows

STILL = 2.0**-15
"""No sample beyond what 16 bits can hold: nobody speaks, and no model has to be asked."""
PAUSE_S = 0.3
"""As long as between sentences."""


@dataclass(eq=False)
class Part:
    """A window of a recording that waits to be heard."""

    recording: Recording
    window: Window
    number: int
    """Of the window; what the model left over of one has the same."""
    spectrogram: Any = None
    """Of the whole window, once it has been heard."""

    @property
    def still(self) -> bool:
        return bool(numpy.abs(self.recording.sound(self.window)).max(initial=0.0) < STILL)

    def features(self) -> Any:
        """A spectrogram as long as the model hears at once: silence behind the window, or zeros, as Whisper has it,
        behind what is left of one."""
        loaded = self.recording.loaded
        if self.spectrogram is None:
            sound = self.recording.sound(self.window)
            made = loaded.features(sound, sampling_rate=loaded.rate_hz, return_tensors="pt")
            self.spectrogram = made.input_features[0]
        skipped = round(self.window.skip_s / loaded.frame_s)
        if not skipped:
            return self.spectrogram
        filled = self.spectrogram.new_zeros(self.spectrogram.shape)
        filled[:, : filled.shape[1] - skipped] = self.spectrogram[:, skipped:]
        return filled


class Recording:
    """A request: a recording to be written down."""

    def __init__(self, audio: Audio, language: str | None, task: Task, future: Future[Transcript]) -> None:
        self.audio, self.task, self.future = audio, task, future
        self.language = language
        """None until it is known, of a model that knows several."""
        self.loaded: Loaded
        self._sound: Any
        self._waiting: list[Part] = []
        self._windows: list[Window] = []
        self._spoken: dict[int, list[Spoken]] = {}
        self._doubts: list[Doubt] = []
        self._left = 0

    def begin(self, sound: Any, loaded: Loaded, overlap_s: float) -> None:
        """sound: samples, float32, at the rate that the model hears."""
        self._sound, self.loaded = sound, loaded
        whole_s, most_s = len(sound) / loaded.rate_hz, loaded.window_s / 3
        self._windows = windows(whole_s, loaded.window_s, min(overlap_s, most_s), self._quietest)
        self._waiting = [Part(self, window, number) for number, window in enumerate(self._windows)]

    def _quietest(self, from_s: float, to_s: float) -> float:
        """The middle of the stretch of PAUSE_S between them with the least energy, to a hundredth of a second."""
        step, half = self.loaded.rate_hz // 100, round(PAUSE_S * 50)
        sound = self._sound[round(from_s * 100) * step : round(to_s * 100) * step]
        energy = (sound[: len(sound) // step * step].reshape(-1, step) ** 2).sum(1)
        stretches = numpy.convolve(energy, numpy.ones(2 * half), "valid")  # whole ones: the ends would seem quieter
        return (round(from_s * 100) + int(stretches.argmin()) + half) / 100

    @property
    def wanted(self) -> bool:
        return not self.future.done()

    def parts(self) -> Iterator[Part]:
        """Those that can be heard now: of a language that nobody knows yet the first one alone."""
        yield from self._waiting[:1] if self.language is None and self.loaded.languages else self._waiting

    def sound(self, window: Window) -> Any:
        rate = self.loaded.rate_hz
        return self._sound[round(window.start_s * rate) : round(window.end_s * rate)]

    def heard(self, part: Part, heard: Heard) -> None:
        """What was written down of a part."""
        self._waiting.remove(part)
        window = part.window
        if heard.ids is not None:
            begin_s = window.start_s + window.skip_s
            found = told(heard.ids, self._first_time, 2 * self.loaded.frame_s, window.end_s - begin_s)
            left = rest(window, None if found.reached_s is None else window.skip_s + found.reached_s)
            if left is not None:
                self._waiting.insert(0, Part(self, left, part.number, part.spectrogram))
            whole = left is None and window.next_s is not None  # the next window hears what is unfinished
            pieces = (*found.pieces, *((found.unfinished,) if whole and found.unfinished else ()))
            if heard.doubt is not None:
                end_s = window.end_s if left is None else left.start_s + left.skip_s
                self._doubts.append(Doubt(round(begin_s, 3), round(end_s, 3), heard.doubt))
            self._spoken.setdefault(part.number, []).extend(self._spelled(pieces, begin_s))
        if not self._waiting:
            with suppress(InvalidStateError):  # it was cancelled
                self.future.set_result(self._transcript())

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    @property
    def _first_time(self) -> int:
        return int(self.loaded.model.generation_config.no_timestamps_token_id) + 1

    def _spelled(self, pieces: Iterable[Piece], begin_s: float) -> Iterator[Spoken]:
        """In seconds of the recording, in which the model began there."""
        for one in pieces:
            text = self.loaded.tokenizer.decode(one.ids, skip_special_tokens=True).strip()
            if text:
                yield Spoken(round(begin_s + one.start_s, 3), round(begin_s + one.end_s, 3), text)

    def _transcript(self) -> Transcript:
        spoken: tuple[Spoken, ...] = ()
        for number, window in enumerate(self._windows):
            own = tuple(self._spoken.get(number, ()))
            spoken = joined(spoken, own, window.start_s, self._windows[number - 1].end_s) if number else own
        language = self.language if self.loaded.languages else "en"
        audio = self.audio
        doubts = tuple(sorted(self._doubts))
        return Transcript(audio.digest, audio.source, round(audio.seconds, 3), language, spoken, doubts)
