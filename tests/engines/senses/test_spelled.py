"""What users spell is text: a mark of an image in it is no place for one."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import pytest

from tests.engines.looping import ids, run
from tests.engines.senses.showing import asked, job, said
from tests.tiny_media import HEARING, SEEING, picture, sound
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.senses.rendering import Placed, SeeingRenderer


@pytest.mark.parametrize("family", [*SEEING, *HEARING])
def test_marks_that_are_spelled_are_text(family: str, loaded: Callable[[str], Loaded]) -> None:
    here = loaded(family)
    reader = here.sight._reader  # type: ignore[union-attr]
    kind = "audio" if family in HEARING else "image"
    medium = sound(1) if family in HEARING else picture(1)
    mark = reader.mark(kind)
    prompt = asked(said(f"One {mark} or", medium, f"two{mark}{mark}?"))
    found = here.renderer.ids(prompt)
    assert sum(one == reader._filled[kind] for one in found) == len(reader.spread(medium).filled)
    text = asked(said(f"One {mark}?"))
    assert reader._filled[kind] not in here.renderer.ids(text)
    measured = here.renderer.measure(prompt)
    assert measured.parts[0][1] == len(reader.spread(medium).ids)
    assert sum(measured.parts[0]) + measured.template == measured.tokens == len(found)
    assert min(measured.parts[0]) > 0
    one = job(prompt)
    assert ids(run(Loop(here, Limits()), [one])[one])


def test_without_a_template_the_marks_that_are_ours_are_told_from_others(loaded: Callable[[str], Loaded]) -> None:
    reader = loaded("llava").sight._reader  # type: ignore[union-attr]
    tokenizer = copy(reader._processor.tokenizer)
    tokenizer.chat_template = None
    here, spread = SeeingRenderer(Renderer(tokenizer, reader.mark), reader), reader.spread(picture(1))
    for text in ("?", "? <image>"):
        view = here.view(asked(said("Look: ", picture(1), text)))
        assert view.media == (Placed(picture(1), len(tokenizer.encode("Look: "))),)
        assert sum(one == reader._filled["image"] for one in view.ids) == len(spread.filled)
        measured = here.measure(asked(said("Look: ", picture(1), text)))
        assert sum(measured.parts[0]) + measured.template == measured.tokens == len(view.ids)
        assert measured.parts[0][1] == len(spread.ids)
