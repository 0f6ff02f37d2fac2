"""The transcriber, live: a thread that hears windows of all recordings that wait, so many at a time.

A request is a recording. Windows of different recordings, languages and tasks share a batch; a recording is done when
all of its windows are, and its texts are then joined.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from vllm_flow.core.describing import opening
from vllm_flow.core.descriptions import named
from vllm_flow.core.errors import EngineError, FlowError, ModelError, told
from vllm_flow.core.media import Audio
from vllm_flow.core.transcripts import Task, Transcript
from vllm_flow.media import samples
from vllm_flow.transcribers.decoding import Decoder, Stopped
from vllm_flow.transcribers.hearing import Heard, Hearing
from vllm_flow.transcribers.languages import spoken_in
from vllm_flow.transcribers.loading import Loaded
from vllm_flow.transcribers.recording import Part, Recording

if TYPE_CHECKING:
    from vllm_flow.transcribers.options import Whisper

CLOSED = "it was closed before the recording was heard. Open a new one."
log = logging.getLogger("vllm_flow")


class WhisperTranscriber:
    """Works in a thread of its own, for any event loop."""

    def __init__(self, options: Whisper, loaded: Loaded) -> None:
        self._options, self._loaded = options, loaded
        self._name = f"the transcriber '{loaded.facts['model']}'"
        self._closed = threading.Event()
        self._hearing: Sequence[Part] = ()
        self._decoder = Decoder(loaded, self._going)
        self._listener = Hearing(options, self._decoder, loaded.tokenizer)
        self._known: OrderedDict[tuple[str, ...], Transcript] = OrderedDict()
        self._waiting: queue.SimpleQueue[Recording | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="vllm-flow transcriber", daemon=True)
        self._thread.start()

    async def transcribe(
        self, audio: Audio, *, language: str | None = None, task: Task = "transcribe", tenant: str = ""
    ) -> Transcript:
        code = spoken_in(self._loaded, language, task)
        key = (tenant, audio.digest, audio.source, code or "", task)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        if self._closed.is_set():
            raise ModelError(f"{self._name}: {CLOSED}")
        recording = Recording(audio, code, task, Future())
        self._waiting.put(recording)
        transcript = await asyncio.wrap_future(recording.future)
        for doubt in transcript.doubts:
            log.warning("%s, %.1f to %.1f s: %s", named(audio), doubt.start_s, doubt.end_s, doubt.why)
        self._known[key] = transcript
        while len(self._known) > self._options.remembered:
            self._known.popitem(last=False)
        return transcript

    def describe(self) -> Mapping[str, Any]:
        return self._loaded.facts

    def close(self) -> None:
        self._closed.set()
        self._waiting.put(None)
        self._thread.join()

    def _going(self) -> bool:
        """Whether anybody waits for what is being heard."""
        return not self._closed.is_set() and any(part.recording.wanted for part in self._hearing)

    def _work(self) -> None:
        here: list[Recording] = []
        while not self._closed.is_set():
            self._take(here)
            here[:] = [one for one in here if one.wanted]
            parts = [part for one in here for part in one.parts()][: self._options.batch]
            if not parts:
                continue
            self._hearing = parts
            try:
                self._hear(parts)
            except Stopped:
                continue
            except Exception as error:  # torch raises whatever it likes, and nobody may wait for ever
                log.debug("the transcriber failed", exc_info=error)
                cause = error if isinstance(error, FlowError) else EngineError(f"{self._name} failed: {told(error)}")
                for part in parts:
                    part.recording.fail(cause)
        for one in here:
            one.fail(ModelError(f"{self._name}: {CLOSED}"))
        while not self._waiting.empty():
            if (late := self._waiting.get()) is not None:
                late.fail(ModelError(f"{self._name}: {CLOSED}"))

    def _take(self, here: list[Recording]) -> None:
        """What has arrived; waits for something when there is nothing to do."""
        while not here or not self._waiting.empty():
            recording = self._waiting.get()
            if recording is None:
                return
            try:
                with opening(recording.audio):
                    sound = samples(recording.audio, self._loaded.rate_hz)
                recording.begin(sound, self._loaded, self._options.overlap_s)
                here.append(recording)
            except FlowError as error:
                recording.fail(error)

    def _hear(self, parts: Sequence[Part]) -> None:
        heard = [part for part in parts if not part.still]
        for part in parts:
            if part.still:
                part.recording.heard(part, Heard(None))
        if not heard:
            return
        encoded = [self._decoder.encoded(part.features()) for part in heard]
        for part, one in zip(heard, encoded, strict=True):
            if part.recording.language is None and self._loaded.languages:
                part.recording.language = self._decoder.language(one)
        asked = [part.recording for part in heard]
        languages, tasks = [one.language for one in asked], [one.task for one in asked]
        for part, one in zip(heard, self._listener.of(encoded, languages, tasks), strict=True):
            part.recording.heard(part, one)
