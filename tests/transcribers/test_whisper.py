"""The transcriber: what transformers writes down, for many recordings at once, and what it refuses in words."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.transcribers.peer import Peer
from tests.transcribers.tiny import LANGUAGES, recording, sound, tiny_whisper
from vllm_flow.config import compose
from vllm_flow.core.describing import NotDescribed
from vllm_flow.core.errors import ConfigError, EngineError, ModelError
from vllm_flow.core.media import Audio
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.transcripts import Doubt, Transcript
from vllm_flow.transcribers import Whisper
from vllm_flow.transcribers.recording import Recording

RECORDINGS = 8
"""Each as long as a window: behind the end of a shorter one transformers goes on through silence."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("english") / "tiny.en")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("several") / "tiny", LANGUAGES)


def transcribed(options: Whisper, *sounds: Audio, together: bool = True, **how: Any) -> list[Transcript]:
    transcriber = options.open()

    async def all_of_them() -> list[Transcript]:
        if together:
            return await asyncio.gather(*(transcriber.transcribe(one, **how) for one in sounds))
        return [await transcriber.transcribe(one, **how) for one in sounds]

    try:
        return asyncio.run(all_of_them())
    finally:
        transcriber.close()


def plain(path: Path, **options: Any) -> Whisper:
    """What a model with random weights takes for silence means nothing, and it is sure of nothing."""
    judging = {"compression_ratio_threshold": None, "logprob_threshold": None}
    return Whisper(path=str(path), silence=1.0, **{**judging, **options})


def words(text: str) -> str:
    return "".join(text.split())


def test_recordings_are_written_down_as_transformers_does_alone_and_in_a_batch(tiny: Path) -> None:
    peer = Peer(tiny)
    sounds = [sound(2.0, seed) for seed in range(RECORDINGS)]
    expected = [words(peer.written(one)) for one in sounds]
    assert len(set(expected)) > 6, "a model that hears nothing proves nothing"
    alone = transcribed(plain(tiny), *map(recording, sounds), together=False)
    batch = transcribed(plain(tiny, batch=3), *map(recording, sounds))
    assert [words(one.text) for one in alone] == expected
    assert [words(one.text) for one in batch] == expected


def test_a_model_of_several_languages_is_asked_as_transformers_asks_it(several: Path) -> None:
    peer, sounds = Peer(several), [sound(2.0, seed) for seed in range(4)]
    for language, task in (("de", "transcribe"), ("German", "translate"), ("en", "transcribe")):
        expected = [words(peer.written(one, language=language.lower(), task=task)) for one in sounds]
        found = transcribed(plain(several), *map(recording, sounds), language=language, task=task)
        assert [words(one.text) for one in found] == expected
        assert {one.language for one in found} == {language[:2].lower().replace("ge", "de")}


def test_the_language_is_found_out_where_nobody_says_it(several: Path) -> None:
    sounds = [sound(2.0, seed) for seed in range(4)]
    peer = Peer(several)
    found = transcribed(plain(several), *map(recording, sounds))
    assert [words(one.text) for one in found] == [words(peer.written(one, task="transcribe")) for one in sounds]
    assert {one.language for one in found} <= set(LANGUAGES)


def test_where_no_temperature_helps_the_best_is_kept_and_doubted(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    sounds = [recording(sound(2.0, 4)), recording(sound(2.0, 0), "")]
    greedy = [one.text for one in transcribed(plain(tiny), *sounds)]
    caplog.clear()
    sure, unsure = transcribed(plain(tiny, logprob_threshold=-2.6), *sounds)
    assert [sure.text, unsure.text] == greedy
    first, rest = (f"the model is unsure, with a mean log-probability of {value}" for value in (-2.82, -2.76))
    assert (sure.doubts, unsure.doubts) == ((), (Doubt(0.0, 1.74, first), Doubt(1.74, 2.0, rest)))
    unnamed = "a recording without a name"
    assert caplog.messages == [f"{unnamed}, 0.0 to 1.7 s: {first}", f"{unnamed}, 1.7 to 2.0 s: {rest}"]


def test_a_long_recording_is_heard_in_windows_and_each_is_what_transformers_hears(tiny: Path) -> None:
    """Random weights agree in nothing, so the joint is known: the middle of what both windows heard."""
    long = recording(sound(7.3, 5))
    (found,) = transcribed(plain(tiny, overlap_s=1.0), long)
    (again,) = transcribed(plain(tiny, overlap_s=1.0, batch=1), long)
    assert found == again
    assert found.seconds == 7.3
    assert found.language == "en"
    starts = [one.start_s for one in found.spoken]
    assert starts == sorted(starts)
    assert len(starts) > 2
    assert all(0 <= one.start_s <= one.end_s <= 7.3 for one in found.spoken)
    assert found.spoken[-1].end_s > 5, "the last window is missing"


def test_windows_begin_where_it_is_quiet(tiny: Path) -> None:
    transcriber: Any = plain(tiny, overlap_s=1.0).open()
    transcriber.close()
    loud = sound(6.0, 1)
    for start in (0.9, 2.1):
        loud[round(start * 16_000) : round((start + 0.3) * 16_000)] *= 0.75
    heard = Recording(recording(loud), None, "transcribe", Future())
    heard.begin(loud, transcriber._loaded, 0.6)
    assert [part.window.start_s for part in heard.parts()][:3] == pytest.approx([0.0, 1.05, 2.25], abs=0.02)


def test_silence_is_an_empty_transcript_and_no_model_is_asked(tiny: Path) -> None:
    (found,) = transcribed(plain(tiny), recording(numpy.zeros(5 * 16_000, "float32")))
    assert (found.spoken, found.text, found.seconds) == ((), "", 5.0)


def test_what_the_model_takes_for_silent_is_not_written_down(tiny: Path) -> None:
    heard = recording(sound(1.0))
    assert transcribed(plain(tiny), heard)[0].text
    assert not transcribed(Whisper(path=str(tiny), silence=0.0), heard)[0].spoken


def test_a_recording_is_heard_once_for_each_tenant(tiny: Path) -> None:
    transcriber: Any = plain(tiny).open()
    asked: list[int] = []
    write = transcriber._decoder.write
    transcriber._decoder.write = lambda states, *rest: (asked.append(len(states)), write(states, *rest))[1]

    async def ask() -> None:
        for tenant in ("", "", "another"):
            await transcriber.transcribe(recording(sound(1.0)), tenant=tenant)
        await transcriber.transcribe(recording(sound(1.0, 9)))

    asyncio.run(ask())
    transcriber.close()
    assert asked == [1, 1, 1]


def test_bfloat16_writes_down_something_of_the_kind(tiny: Path) -> None:
    found = transcribed(plain(tiny, dtype="bfloat16"), *(recording(sound(1.0, seed)) for seed in range(3)))
    assert all(one.text for one in found)


def test_who_no_longer_waits_stops_the_work_and_others_go_on(tiny: Path) -> None:
    transcriber: Any = plain(tiny, batch=1).open()

    async def ask() -> Transcript:
        gone = asyncio.create_task(transcriber.transcribe(recording(sound(60, 3))))
        await asyncio.sleep(0.05)
        gone.cancel()
        return await transcriber.transcribe(recording(sound(2.0)))

    found = asyncio.run(asyncio.wait_for(ask(), 20))
    transcriber.close()
    assert words(found.text) == words(Peer(tiny).written(sound(2.0)))


def test_closing_ends_what_waits_and_takes_nothing_more(tiny: Path) -> None:
    transcriber = plain(tiny).open()

    async def ask() -> None:
        waiting = asyncio.create_task(transcriber.transcribe(recording(sound(120, 3))))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(transcriber.close)
        with pytest.raises(ModelError) as told:
            await waiting
        assert str(told.value) == problem
        with pytest.raises(ModelError) as told:
            await transcriber.transcribe(recording(sound(1.0)))
        assert str(told.value) == problem

    problem = "the transcriber 'tiny.en': it was closed before the recording was heard. Open a new one."
    asyncio.run(ask())


def test_what_a_model_cannot_do_is_said(tiny: Path, several: Path) -> None:
    def told(path: Path, **how: Any) -> str:
        with pytest.raises(EngineError) as caught:
            transcribed(plain(path), recording(sound(1.0)), **how)
        return str(caught.value)

    assert told(tiny, language="de") == (
        "the transcriber 'tiny.en' knows no language but English. Leave language out, or choose another model."
    )
    assert told(tiny, task="translate") == (
        "the transcriber 'tiny.en' knows English alone, and translates nothing. Leave task out, or choose another."
    )
    assert told(several, language="germann") == (
        "the transcriber 'tiny' knows no language 'germann'. Did you mean 'german'? It knows: de, en, zh."
    )
    assert told(several, language="fr") == "the transcriber 'tiny' knows no language 'fr'. It knows: de, en, zh."


def test_a_recording_without_its_content_is_refused_and_others_go_on(tiny: Path) -> None:
    transcriber = plain(tiny).open()

    async def ask() -> list[Any]:
        whole = recording(sound(1.0))
        both = (replace(whole, data=None, digest="0" * 64), whole)
        return await asyncio.gather(*(transcriber.transcribe(one) for one in both), return_exceptions=True)

    gone, found = asyncio.run(ask())
    transcriber.close()
    assert isinstance(gone, NotDescribed)
    assert isinstance(found, Transcript)
    assert str(gone) == "its content is not here any more"


def test_the_record_knows_the_model(tiny: Path, several: Path) -> None:
    def facts(path: Path) -> dict[str, Any]:
        transcriber = plain(path).open()
        transcriber.close()
        return {**transcriber.describe(), "weights_sha256": 0, "tokenizer_sha256": 0}

    same = {"transcriber": "whisper", "dtype": "float32", "weights_sha256": 0, "tokenizer_sha256": 0}
    assert facts(tiny) == {**same, "model": "tiny.en", "languages": 1}
    assert facts(several) == {**same, "model": "tiny", "languages": 3}


def test_what_is_no_such_folder_is_said(tiny: Path, tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(ModelError) as caught:
            Whisper(path=str(path)).open()
        return str(caught.value)

    none, broken = tmp_path / "none", tmp_path / "broken"
    needed = "config.json, generation_config.json, model.safetensors, preprocessor_config.json or processor_config.json"
    assert told(none) == f"transcriber.path: {none}: there is no such folder. Give one with {needed} in it."
    shutil.copytree(tiny, broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    said = told(broken)
    assert said.startswith(f"transcriber.path: {broken}: it cannot be read: ")
    assert said.endswith(". Give a Whisper as `save_pretrained` writes it.")
    for name in ("processor_config.json", "model.safetensors", "config.json"):
        (broken / name).unlink()
        missing = {"processor_config.json": "preprocessor_config.json or processor_config.json"}.get(name, name)
        assert told(broken) == f"transcriber.path: {broken}: there is no {missing} in it. Give a folder with {needed}."


def faults(stage: dict[str, Any], **options: Any) -> list[str]:
    resources = {"transcriber": {"use": "transcriber/whisper", **options}}
    with pytest.raises(ConfigError) as told:
        Pipeline.build(RunSpec("x", {"said": {"use": "describe/speech", **stage}}, "said", resources=resources))
    return str(told.value).splitlines()


def test_weights_that_nobody_knows_are_refused_before_anything_runs() -> None:
    none = "nothing says where the weights are. Give package (whisper-tiny.en), path or hub."
    assert faults({}) == [f"resources.transcriber: {none}"]
    assert faults({}, package="whisper-tiny") == [
        "resources.transcriber.package: there is no packaged transcriber 'whisper-tiny'. Did you mean "
        "'whisper-tiny.en'? There are: whisper-tiny.en."
    ]


def test_what_the_packaged_model_cannot_do_is_refused_before_anything_runs() -> None:
    other = "Leave it out, or choose another model: transcriber.path=FOLDER or transcriber.hub=NAME."
    assert faults({"language": "de", "task": "translate"}, package="whisper-tiny.en") == [
        f"graph.said: `language`: the transcriber's model knows no language but 'en'. {other}",
        f"graph.said: `task`: the transcriber's model knows 'en' alone, and translates nothing. {other}",
    ]
    package = {"use": "transcriber/whisper", "package": "whisper-tiny.en"}
    english = {"said": {"use": "describe/speech", "language": "English"}}
    Pipeline.build(RunSpec("x", english, "said", resources={"transcriber": package}))


def test_a_name_on_the_hub_counts_more_than_the_package_that_the_shipped_choice_names() -> None:
    german = ["pipeline=transcribe", "transcriber.hub=a/whisper", "graph.transcripts.language=de"]
    options = Pipeline.build(compose(german)).resources["transcriber"].options
    assert (options.package, options.place(), options.only_language()) == (
        "whisper-tiny.en", ("a/whisper", "transcriber.hub: a/whisper"), None,
    )  # fmt: skip
