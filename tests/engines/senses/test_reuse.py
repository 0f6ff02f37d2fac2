"""What is remembered of prompts with media: by their content, and bitwise what is computed without."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from sys import getrefcount

import pytest
import torch

from tests.engines.looping import Logits, ids, run
from tests.engines.senses.showing import LONG, asked, job, said
from tests.tiny_media import HEARING, SEEING, picture, sound
from vllm_flow.core.media import Medium
from vllm_flow.core.values import Finish, Prompt, Token
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.row import Job

Get = Callable[[str], Loaded]
IN_BATCH = [*SEEING, *HEARING]
WATCHED = 3


def shown(family: str, number: int) -> Medium:
    return sound(number, 0.3 + 0.2 * number) if family in HEARING else picture(number, 40 + 8 * number, 64)


def finish(loop: Loop, one: Job) -> Finish:
    last = run(loop, [one])[one][-1].finish
    assert last is not None
    return last


@pytest.mark.parametrize("family", IN_BATCH)
def test_a_conversation_about_a_medium_is_read_on_from_where_it_was(family: str, loaded: Get) -> None:
    loop, first = Loop(loaded(family), Limits()), said(LONG, shown(family, 1), "What is this?")
    assert finish(loop, job(asked(first))).cached_tokens == 0
    again = finish(loop, job(asked(first, "A thing.", said("And what else?", shown(family, 2)))))
    pieces = len(loaded(family).renderer.ids(asked(first))) // 64
    assert again.cached_tokens == 64 * pieces > 0


@pytest.mark.parametrize("family", IN_BATCH)
def test_another_medium_in_the_same_place_is_not_taken_for_the_one_that_is_remembered(family: str, loaded: Get) -> None:
    loop = Loop(loaded(family), Limits())
    one, other = (asked(said(shown(family, number), LONG)) for number in (1, 2))
    same = said(shown(family, 1), LONG)
    finish(loop, job(one))
    start = loaded(family).sight.shown(one, "")._media[0][1][0]  # type: ignore[union-attr]
    assert finish(loop, job(other)).reuse_stopped_at == start
    assert finish(loop, job(asked(same))).cached_tokens == len(loaded(family).renderer.ids(one))


@pytest.mark.parametrize("family", IN_BATCH)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_after_media_are_bitwise_the_same_alone_in_company_and_remembered(
    family: str, dtype: str, loaded: Get, drawn: Logits
) -> None:
    here = loaded(family) if dtype == "float32" else loaded(f"{family} bfloat16")
    assert here.facts["deterministic"] is True
    watched = asked(said(LONG, shown(family, 1), "and", shown(family, 2), LONG))
    others = [
        asked(said(LONG, shown(family, 1), LONG)), asked(said(LONG)), asked(said(shown(family, 3), "?")),
        asked(said(LONG, shown(family, 1), "and", shown(family, 2), "Why?")), asked(said("Hello.")), asked(said(LONG * 3)),
    ]  # fmt: skip

    def logits(loop: Loop, company: list[Prompt], every: int = 0) -> dict[int, bytes]:
        drawn.clear()
        jobs = [seeded(watched, WATCHED), *(seeded(one, 100 + place) for place, one in enumerate(company))]
        run(loop, jobs[::-1], every)
        return {index: found for (seed, index), found in drawn.items() if seed == WATCHED}

    alone = logits(Loop(here, Limits()), [])
    assert len(alone) == 6
    remembering = Loop(here, Limits())
    for company, every in ((others, 0), (others * 3, 0), (others * 2, 2), (others, 5)):
        assert logits(Loop(here, Limits(prefill_tokens=130)), company, every) == alone
        assert logits(remembering, company, every) == alone


def seeded(prompt: Prompt, seed: int) -> Job:
    made = job(prompt, tokens=6, temperature=1.0, top_p=0.9, stop_token_ids=())
    object.__setattr__(made.request, "seed", seed)
    return made


def test_what_one_tenant_has_shown_is_made_anew_for_another(loaded: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    here, processed, embedded = loaded("llava"), list[Medium](), list[Medium]()
    reader, tower = here.sight._reader, here.sight._tower  # type: ignore[union-attr]
    spread, embed = reader._spread_now, tower._embedded._compute
    monkeypatch.setattr(reader, "_spread_now", lambda medium: processed.append(medium) or spread(medium))
    monkeypatch.setattr(tower._embedded, "_compute", lambda owned: embedded.append(owned[1]) or embed(owned))
    prompt = asked(said(picture(77), LONG))
    for tenant in ("a", "a", "b"):
        one = job(prompt)
        object.__setattr__(one.request, "tenant", tenant)
        assert finish(Loop(here, Limits()), one).cached_tokens == 0
    assert processed == embedded == [picture(77)] * 2


@pytest.mark.parametrize("family", ["llava", "qwen2_audio"])
def test_what_a_medium_looks_or_sounds_like_is_not_kept_with_what_was_made_of_it(family: str, loaded: Get) -> None:
    here, content = loaded(family), bytes(bytearray(shown(family, 8).data))
    ours = getrefcount(content)
    prompt = asked(said(replace(shown(family, 8), data=content), "Well?"))
    here.renderer.measure(prompt)
    finish(Loop(here, Limits()), job(prompt))
    del prompt
    gc.collect()
    left = getrefcount(content)  # an assertion holds what it looks at
    assert left == ours


@pytest.mark.parametrize("family", IN_BATCH)
def test_what_a_tower_makes_of_a_medium_is_bitwise_the_same_each_time(family: str, loaded: Get) -> None:
    tower = loaded(family).sight._tower  # type: ignore[union-attr]
    first, *others = (tower._embedded_now(("", shown(family, 5))) for _ in range(4))
    for one in others:
        assert torch.equal(one.rows, first.rows)
        assert all(torch.equal(*pair) for pair in zip(one.deep, first.deep, strict=True))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava", "gemma3", "qwen2_audio"])
def test_answers_to_one_medium_are_read_once_until_they_part_and_not_with_those_to_another(
    family: str, loaded: Get
) -> None:
    limits = Limits(prefill_tokens=1 << 15)
    here = loaded(family)
    hearing = family in HEARING
    media = [sound(number, 1.0) if hearing else picture(number, 64, 64) for number in (1, 2)]
    jobs = [job(asked(said(one, "Well?")), temperature=how) for one in media for how in (0.01, 0.02, 0.9, 1.3)]
    loop, together = Loop(here, limits), list[int]()
    for one in jobs:
        loop.add(one)
    found: dict[Job, list[int]] = {one: [] for one in jobs}
    while not loop.idle:
        for one, item in loop.step():
            assert isinstance(item, Token)
            found[one].append(item.id)
        together.append(len({row.sequence for row in loop._in_flight()}))
    assert 2 <= together[1] < len(jobs)
    for one, said_alone in found.items():
        assert said_alone == ids(run(Loop(here, limits), [replace(one)]).popitem()[1])
