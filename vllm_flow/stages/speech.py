"""Speech: what is said in the recordings of a conversation, and the form in which people want to have it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from vllm_flow.core.describing import NotDescribed, called
from vllm_flow.core.descriptions import Descriptions, each_medium, named
from vllm_flow.core.errors import SourceError
from vllm_flow.core.files import replaced
from vllm_flow.core.media import Audio
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine
from vllm_flow.core.spec import Path as Place
from vllm_flow.core.subtitles import ENDINGS, Form, rendered
from vllm_flow.core.transcripts import Task, Transcriber, TranscriberOptions, Transcript, Transcripts
from vllm_flow.core.values import Context, Turn

ENGLISH = ("en", "english")
OTHER = "Leave it out, or choose another model: transcriber.path=FOLDER or transcriber.hub=NAME."


@stage("describe/speech")
@dataclass(frozen=True)
class Speech:
    """What is said in the turn's recordings, each with its times; and in those of earlier turns, with a context.

    Nothing where a model that hears is wired to `model`. An earlier recording that is gone is no reason to fail.
    """

    language: str | None = None
    """That is spoken, by its code or its English name, such as `de`; null: the transcriber finds out."""
    task: Task = "transcribe"
    """translate: into English, by a model that knows several languages."""

    def check(self, transcriber: TranscriberOptions) -> Iterator[tuple[Place, str]]:
        only = transcriber.only_language()
        if only is None:
            return
        if self.language is not None and self.language.casefold() not in (only, *(ENGLISH if only == "en" else ())):
            what = f"the transcriber's model knows no language but '{only}'"
            yield (), f"`language`: {what}. {OTHER}"
        if self.task == "translate":
            what = f"the transcriber's model knows '{only}' alone, and translates nothing"
            yield (), f"`task`: {what}. {OTHER}"

    async def run(
        self, turn: Turn, transcriber: Transcriber, *, context: Context | None = None, model: Engine | None = None
    ) -> Transcripts:
        """Raises SourceError for a recording of the turn itself that cannot be heard."""
        if model is not None and "audio" in model.describe().get("media", ()):
            return Transcripts(())
        found, problems = dict[str, Transcript](), dict[str, str]()

        async def hear(sound: Audio) -> None:
            try:
                found[sound.digest] = await transcriber.transcribe(sound, language=self.language, task=self.task)
            except NotDescribed as problem:
                if sound in turn.message.media:
                    raise SourceError(f"{named(sound)}: {problem}. Give it again.") from problem
                problems[sound.digest] = str(problem)

        messages = (*(context.messages if context else ()), turn.message)
        sounds = [one for one in each_medium(messages, "audio") if isinstance(one, Audio)]
        async with asyncio.TaskGroup() as group:
            for one in sounds:
                group.create_task(hear(one))
        heard = tuple(found[one.digest] for one in sounds if one.digest in found)
        return Transcripts(heard, problems, called(transcriber))


@stage("describe/heard")
@dataclass(frozen=True)
class Heard:
    """Transcripts, for `fuse/describe` to put in the place of the recordings, so that any model reads them."""

    def run(self, transcripts: Transcripts) -> Descriptions:
        texts = {one.digest: one.text for one in transcripts.of}
        return Descriptions("transcript", texts, transcripts.problems, transcripts.by)


@dataclass(frozen=True, slots=True)
class Written:
    """Transcripts as somebody wants to have them."""

    text: str
    """As one text, in the form that was asked for."""
    transcripts: tuple[Transcript, ...]
    files: tuple[str, ...] = ()
    """Those that hold it, too; in the order of the transcripts."""


@stage("write/transcripts")
@dataclass(frozen=True)
class Write:
    """Transcripts as text, as subtitles for a player (SRT, WebVTT) or as JSON; and in files, one for each recording."""

    form: Form = "text"
    """text: a line for each stretch of speech. srt, vtt: with their times. json: with their times, for programs."""
    folder: str | None = None
    """In the working directory, where a file for each recording is written: talks/a.mp3 → FOLDER/talks/a.srt, in the
    place of one that is there. The name has part of the recording's digest where that lies elsewhere, and where another
    of the same name, such as talks/a.wav, was written before. null: nowhere."""

    def problems(self) -> Iterator[OptionProblem]:
        if self.folder is not None and not self.folder.strip():
            yield OptionProblem(("folder",), "it is empty. Name a folder, or null for none.")

    def run(self, transcripts: Transcripts) -> Written:
        """Raises SourceError for a turn without recordings, and for what cannot be heard or written."""
        for problem in transcripts.problems.values():
            raise SourceError(f"a recording of an earlier turn: {problem}. Give it again.")
        if not transcripts.of:
            raise SourceError("there is no recording to write down. Give one: input.audio=FILE.")
        texts = [rendered(one, self.form) for one in transcripts.of]
        files = () if self.folder is None else tuple(self._files(transcripts.of, texts, self.folder))
        return Written("\n".join(texts).rstrip("\n"), transcripts.of, files)

    @cached_property
    def _whose(self) -> dict[Path, str]:
        """The recording's digest, of each file that this process has written so far."""
        return {}

    def _files(self, transcripts: Sequence[Transcript], texts: Sequence[str], folder: str) -> Iterator[str]:
        """Their names, when they are written."""
        try:
            here = Path.cwd().resolve()
            place = (here / folder).resolve()
            if not place.is_relative_to(here):
                raise SourceError(f"{folder}: it lies outside of the working directory. Name a folder in it.")
            for one, text in zip(transcripts, texts, strict=True):
                name = f"{_stem(one)}{ENDINGS[self.form]}"
                if self._whose.setdefault(place / name, one.digest) != one.digest:
                    name = f"{_stem(one)}-{one.digest[:8]}{ENDINGS[self.form]}"
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                with replaced(place / name) as file:
                    file.write(text)
                yield (place / name).relative_to(here).as_posix()
        except OSError as error:
            what = f"it cannot be written ({error.strerror or error})"
            raise SourceError(f"{folder}: {what}. Name another folder.") from None


def _stem(transcript: Transcript) -> str:
    """The recording's name as it was given, folders included, without its ending; a name of any system."""
    path = PurePosixPath(PureWindowsPath(transcript.source).as_posix())
    if not path.stem.strip(". ") or not transcript.source.isprintable():
        return transcript.digest[:16]
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in str(path)
    return str(path.with_suffix("")) if inside else f"{path.stem}-{transcript.digest[:8]}"
