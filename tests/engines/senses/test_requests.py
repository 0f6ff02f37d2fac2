"""Requests with media: what is refused of them and in which words, what they take, and what else can be asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.engines import lessons, streams
from tests.engines.senses.showing import LONG, Direct, asked, job, said
from tests.tiny_media import by_name, picture, sound
from vllm_flow.core.adapting import AdaptRequest, Lesson
from vllm_flow.core.errors import EngineError
from vllm_flow.core.measuring import ledger_of
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.load import load
from vllm_flow.media import pixels
from vllm_flow.models.spec import Architecture, Model

Open = Callable[[str], TransformersEngine]


@pytest.fixture(scope="module")
def engine(saved: Callable[[str], Path]) -> Iterator[Open]:
    known: dict[str, TransformersEngine] = {}

    def get(family: str) -> TransformersEngine:
        if family not in known:
            known[family] = TransformersEngine(partial(load, Model(family, path=str(saved(family))), "cpu", "float32"))
        return known[family]

    yield get
    for one in known.values():
        one.close()


def answer(engine: TransformersEngine, asked_of_it: Prompt | Request) -> list[Token]:
    request: Request = job(asked_of_it).request if isinstance(asked_of_it, Prompt) else asked_of_it
    return streams.said(engine, request)[0]


def refused(engine: TransformersEngine, prompt: Prompt) -> str:
    with pytest.raises(EngineError) as refusal:
        answer(engine, prompt)
    return str(refusal.value)


def test_a_sound_for_a_model_of_pictures_is_refused_and_a_picture_for_one_of_sounds(engine: Open) -> None:
    right = "Choose a model that does, or have it put in words with fuse/describe."
    wrong = "the engine 'transformers' reads no"
    assert refused(engine("llava"), asked(said(sound(1)))) == f"{wrong} sounds with this model: sound1.flac. {right}"
    heard = asked(said("Look:", picture(1)))
    assert refused(engine("qwen2_audio"), heard) == f"{wrong} images with this model: picture1.png. {right}"


def test_a_model_of_texts_counts_and_scores_no_picture_as_nothing() -> None:
    engine = TransformersEngine(partial(load, Model("random", architecture=Architecture(32, 2, 4)), "cpu", "float32"))
    try:
        assert engine.describe()["media"] == []
        for ask in (engine.count, engine.measure, engine.prompt_ids, engine.prompt_text):
            with pytest.raises(EngineError, match="reads no images with this model"):
                ask(asked(said("Look:", picture(1))))
        with pytest.raises(EngineError, match="reads no images with this model"):
            asyncio.run(engine.score(asked(said(picture(1))), "Yes."))
    finally:
        engine.close()


def test_what_is_known_by_its_name_alone_cannot_be_read(engine: Open) -> None:
    expected = "prompt: picture1.png: only the digest of this image is known here. Give the image again."
    assert refused(engine("llava"), asked(said(by_name(picture(1))))) == expected
    expected = "prompt: sound1.flac: only the digest of this sound is known here. Give the sound again."
    assert refused(engine("qwen2_audio"), asked(said(by_name(sound(1))))) == expected


def test_a_sound_that_is_longer_than_the_model_hears_is_refused_and_not_cut(engine: Open) -> None:
    assert answer(engine("qwen2_audio"), asked(said(sound(2, 2.0))))[-1].finish is not None
    expected = (
        "prompt: sound2.flac lasts 2.5 s, but this model hears 2 s at once. Cut it in pieces, or put it in words with "
        "fuse/describe."
    )
    assert refused(engine("qwen2_audio"), asked(said(sound(2, 2.5)))) == expected


def test_what_the_processor_refuses_is_told_and_other_requests_go_on(engine: Open) -> None:
    told = refused(engine("qwen2_5_vl"), asked(said(picture(1, 1000, 4))))
    assert told.startswith("prompt: the model's processor refuses picture1.png: absolute aspect ratio must be smaller")
    assert told.endswith("Give another, or leave it out.")
    assert answer(engine("qwen2_5_vl"), asked(said(picture(1))))[-1].finish is not None


def test_a_template_that_has_no_place_for_a_medium_is_not_passed_over(saved: Callable[[str], Path]) -> None:
    loaded = load(Model("llava", path=str(saved("llava"))), "cpu", "float32")
    tokenizer = loaded.renderer._texts._tokenizer  # type: ignore[attr-defined]
    tokenizer.chat_template = (
        "{% for m in messages %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endfor %}"
    )
    with pytest.raises(EngineError) as refusal:
        loaded.renderer.ids(asked(said("Look:", picture(1))))
    expected = "prompt: the model's chat template has a place for 0 of its 1 media of the kind image. Let the user say "
    assert str(refusal.value) == f"{expected}them, or choose another model."
    loaded.network.close()


def test_plain_prompts_have_their_media_where_they_stand(engine: Open, saved: Callable[[str], Path]) -> None:
    plain = Prompt((Message("user", (Text("A thing: "), picture(1), Text(" It is"))),), plain=True)
    direct = Direct(saved("llava"))
    given = direct.processor(text=["A thing: <image> It is"], images=[pixels(picture(1))], return_tensors="pt")
    assert engine("llava").prompt_ids(plain) == given["input_ids"][0].tolist()


@pytest.mark.parametrize("family", ["qwen3_vl", "idefics3", "qwen2_audio"])
def test_the_ledger_has_what_media_take_as_a_segment_of_its_own(engine: Open, family: str) -> None:
    media = [sound(1), sound(2, 0.9)] if family == "qwen2_audio" else [picture(1), picture(2, 120, 60)]
    prompt = asked(said(LONG, media[0]), "A thing.", said(media[1], "And this?", media[0]))
    found = engine(family).measure(prompt)
    lengths = [len(engine(family)._loaded.sight._reader.spread(one).ids) for one in media]  # type: ignore[union-attr]
    assert found.tokens == engine(family).count(prompt)
    assert found.parts == ((len(LONG), lengths[0]), (len("A thing."),), (lengths[1], len("And this?"), lengths[0]))
    entries = {one.segment: one for one in ledger_of(prompt, engine(family)).entries}
    assert entries["media"].tokens == 2 * lengths[0] + lengths[1]
    assert (entries["media"].items, entries["media"].sources) == (3, tuple(one.source for one in media))
    assert sum(one.tokens or 0 for one in entries.values()) == found.tokens


def test_the_likelihood_of_an_answer_is_the_models_own_and_depends_on_the_picture(
    engine: Open, saved: Callable[[str], Path]
) -> None:
    direct, prompt = Direct(saved("qwen2_5_vl")), asked(said(picture(1), "What is this?"))
    scored = asyncio.run(engine("qwen2_5_vl").score(prompt, "A thing."))
    given = dict(direct.inputs(prompt))
    tail = torch.tensor([list(scored.token_ids)])
    given["input_ids"] = torch.cat([given["input_ids"], tail], 1)
    given["mm_token_type_ids"] = torch.cat([given["mm_token_type_ids"], torch.zeros_like(tail)], 1)
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    with torch.inference_mode():
        logits = direct.model(**given).logits[0, -len(tail[0]) - 1 : -1].log_softmax(-1)
    wanted = logits.gather(1, tail.T)[:, 0]
    assert torch.allclose(torch.tensor(scored.logprobs), wanted, atol=1e-3)
    other = asyncio.run(engine("qwen2_5_vl").score(asked(said(picture(2), "What is this?")), "A thing."))
    assert not torch.allclose(torch.tensor(other.logprobs), wanted, atol=0.1)


def test_a_model_that_sees_learns_of_texts_and_says_so(engine: Open) -> None:
    async def learn(prompt: Prompt) -> str:
        request = AdaptRequest((Lesson(prompt, "A thing."),), lessons.HOW)
        return (await engine("qwen3_vl").adapt(request)).version

    with pytest.raises(EngineError) as refusal:
        asyncio.run(learn(asked(said(picture(1)))))
    expected = "the text to learn: images or sounds stand before it. Leave them out: texts are learned."
    assert str(refusal.value) == expected
    version = asyncio.run(learn(asked(said("What is this?"))))
    picture_asked = replace(job(asked(said(picture(1)))).request, adapter=version)
    assert answer(engine("qwen3_vl"), picture_asked)[-1].finish is not None


def test_the_forward_pass_of_its_language_model_can_be_called(engine: Open) -> None:
    found = engine("qwen3_vl").forward([[5, 6, 7, 8]], [[1, 1, 1, 1]], [[0, 1, 2, 3]], hidden_states=True)
    assert found.logits.shape == (1, 4, 264)
    assert found.hidden_states is not None
    assert len(found.hidden_states) == 3


def test_a_plain_prompt_that_spells_a_mark_beside_an_image_is_refused(engine: Open) -> None:
    spelled = Prompt((Message("user", (Text("<image> or "), picture(1))),), plain=True)
    expected = "prompt: a text in it spells the model's own mark of image. Write it otherwise."
    assert refused(engine("llava"), spelled) == expected
