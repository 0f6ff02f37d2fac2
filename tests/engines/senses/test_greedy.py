"""Greedy answers to pictures and sounds are those of transformers' own `generate`, alone and in mixed company."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.looping import ids, run
from tests.engines.senses.showing import LONG, Direct, asked, job, said
from tests.tiny_media import HEARING, SEEING, picture, sound
from vllm_flow.core.media import Medium
from vllm_flow.core.values import Prompt
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.loop import Limits, Loop

IN_BATCH = [*SEEING, *HEARING]
ALL = [*IN_BATCH, "gemma3"]
Get = Callable[[str], Loaded]


@pytest.fixture(scope="module")
def direct(saved: Callable[[str], Path]) -> Callable[[str], Direct]:
    known: dict[str, Direct] = {}
    return lambda family: known.setdefault(family, known.get(family) or Direct(saved(family)))


def media(family: str) -> list[Medium]:
    """Of several sizes."""
    if family in HEARING:
        return [sound(1), sound(2, 0.9), sound(3, 0.3), sound(4, 1.7)]
    return [picture(1), picture(2, 120, 60), picture(3, 30, 90), picture(4, 64, 64)]


def conversations(family: str) -> list[Prompt]:
    """With no, one and three media, within and behind texts, asked about once more, of many lengths."""
    a, b, c, d = media(family)
    return [
        asked(said(a, "What is this?")),
        asked(said("Tell me of the sea.")),
        asked(said(LONG, a, LONG, b, "and", c, "Which is the odd one?")),
        asked(said(d)),
        asked(said(a, "What is this?"), "A thing.", said("And this?", d)),
        asked(said(LONG * 2, "Why?")),
        asked(said(b, b)),
    ]


@pytest.mark.parametrize("family", ALL)
def test_an_answer_to_media_is_that_of_generate(family: str, loaded: Get, direct: Callable[[str], Direct]) -> None:
    for prompt in conversations(family):
        alone = job(prompt)
        found = run(Loop(loaded(family), Limits()), [alone])[alone]
        given = direct(family).inputs(prompt)
        assert loaded(family).renderer.ids(prompt) == given["input_ids"][0].tolist()
        assert ids(found) == direct(family).answer(prompt)


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("every", [1, pytest.param(0, marks=pytest.mark.full), pytest.param(3, marks=pytest.mark.full)])
def test_answers_to_media_and_texts_that_come_and_go_are_those_of_generate(
    family: str, every: int, loaded: Get, direct: Callable[[str], Direct]
) -> None:
    jobs = [job(prompt, tokens=5 + 4 * place) for place, prompt in enumerate(conversations(family) * 2)]
    found = run(Loop(loaded(family), Limits(rows=5, prefill_tokens=100)), jobs, every)
    for one, tokens in found.items():
        limit = one.request.schedule.at(0).max_tokens
        assert ids(tokens) == direct(family).answer(one.request.prompt, limit)


@pytest.mark.parametrize("family", IN_BATCH)
def test_models_that_see_or_hear_run_in_the_batch(family: str, loaded: Get) -> None:
    assert loaded(family).facts["batching"] == "continuous"
    assert loaded(family).facts["deterministic"] is True
    assert loaded(family).facts["media"] == (["audio"] if family in HEARING else ["image"])


def test_a_model_whose_pictures_look_both_ways_takes_the_plain_path_and_says_why(loaded: Get) -> None:
    assert loaded("gemma3").facts["batching"] == "none: its language model is given a mask of its own"


@pytest.mark.parametrize("family", ALL)
def test_another_medium_or_none_gives_another_answer(family: str, loaded: Get) -> None:
    a, b, *_ = media(family)
    prompts = [asked(said(one, "What is this?")) for one in (a, b)] + [asked(said("What is this?"))]
    jobs = [job(prompt) for prompt in prompts]
    found = run(Loop(loaded(family), Limits()), jobs)
    assert len({tuple(ids(tokens)) for tokens in found.values()}) == 3
