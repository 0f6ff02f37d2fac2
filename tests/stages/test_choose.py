"""The model recommends: only what is there, nothing twice, with a sentence for each, as text and as data."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from vllm_flow.core.catalogue import Catalogue, Offer
from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Entry, Ledger
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.option_checks import own_problems
from vllm_flow.core.segments import Item, Segment
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Completion, Prompt, Request
from vllm_flow.stages.choose import NONE_LEFT, Choose
from vllm_flow.testing import EchoEngine, prompt, schedule

SHELF = Catalogue.of(
    (Offer("w", "Whale", "Whale: the sea."), Offer("m", "Manor", "Manor: ghosts."), Offer("b", "Ball", "Ball: love."))
)
CANDIDATES = Segment("candidates", tuple(Item(one.text, one.id) for one in SHELF.offers))


class Chooser(EchoEngine):
    """Takes the last of its choices, and says a sentence when it is asked for one. `asked` has the requests."""

    def __init__(self, sentence: str = "It fits.") -> None:
        self.asked: list[Request] = []
        self._sentence = sentence

    async def generate(self, request: Request) -> Any:
        self.asked.append(request)
        said = request.shape.choices[-1] if request.shape and request.shape.choices else self._sentence
        messages = (*request.prompt.messages, user(said))
        async for token in super().generate(Request(Prompt(messages), request.schedule, shape=request.shape)):
            yield token


def chosen(stage: Choose, engine: EchoEngine, candidates: Segment = CANDIDATES, **given: Any) -> Completion:
    values = {"prompt": prompt("Something good?"), "schedule": schedule(), "catalogue": SHELF, **given}
    return asyncio.run(stage.run(engine=engine, candidates=candidates, **values))


def test_the_model_chooses_place_by_place_and_gives_its_reasons() -> None:
    engine = Chooser()
    reply = chosen(Choose(most=2, why="Why {title}: {text}"), engine)
    assert reply.text == "1. Ball: It fits.\n2. Manor: It fits."
    assert reply.data == {
        "recommended": [
            {"id": "b", "title": "Ball", "reason": "It fits."},
            {"id": "m", "title": "Manor", "reason": "It fits."},
        ]
    }
    assert (reply.finish_reason, reply.token_ids) == ("stop", ())
    assert [one.shape.choices for one in engine.asked[:2] if one.shape] == [
        ("Whale", "Manor", "Ball"),
        ("Whale", "Manor"),
    ]
    assert [one.sample for one in engine.asked] == [0, 1, 2, 3]  # each draws for itself
    why = (user("Something good?"), assistant("Ball"), user("Why Ball: Ball: love."))
    assert engine.asked[2].prompt.messages == why
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3 + 3 + 9 + 9, 1 + 1 + 2 + 2)


def test_where_one_is_left_the_model_need_not_be_asked() -> None:
    engine = Chooser()
    assert chosen(Choose(most=9, why=None), engine).text == "1. Ball\n2. Manor\n3. Whale"
    assert len(engine.asked) == 2


def test_without_ranks_the_order_stays_and_without_reasons_nobody_is_asked() -> None:
    engine = Chooser()
    reply = chosen(Choose(most=2, ranks=False, why=None), engine)
    assert (reply.text, engine.asked) == ("1. Whale\n2. Manor", [])
    assert reply.data["recommended"][0] == {"id": "w", "title": "Whale", "reason": None}
    assert reply.usage.prompt_tokens == 0


def test_what_had_no_room_in_the_prompt_is_not_recommended_and_of_nothing_nothing_is() -> None:
    asked = Prompt((user("?"),), ledger=Ledger((Entry("candidates", 1, sources=("m",)),)))
    assert chosen(Choose(), Chooser(), prompt=asked).text == "1. Manor: It fits."
    empty = chosen(Choose(), Chooser(), Segment("candidates"))
    assert (empty.text, empty.data) == (NONE_LEFT, {"recommended": []})


def test_two_of_one_title_are_told_apart_by_their_ids() -> None:
    twins = Catalogue.of((Offer("a", "Emma", "x"), Offer("b", "Emma", "y"), Offer("c", "Ball", "z")))
    items = Segment("candidates", tuple(Item(one.text, one.id) for one in twins.offers))
    engine = Chooser()
    reply = chosen(Choose(most=3, why=None), engine, items, catalogue=twins)
    assert [one["id"] for one in reply.data["recommended"]] == ["c", "b", "a"]
    assert engine.asked[0].shape == Shape(choices=("Emma [a]", "Emma [b]", "Ball"))


def test_a_title_that_looks_like_one_with_an_id_takes_no_others_place() -> None:
    shelf = Catalogue.of((Offer("a", "Emma", "x"), Offer("b", "Emma", "y"), Offer("c", "Emma [a]", "z")))
    items = Segment("candidates", tuple(Item(one.text, one.id) for one in shelf.offers))
    reply = chosen(Choose(most=3, why=None), Chooser(), items, catalogue=shelf)
    assert [one["id"] for one in reply.data["recommended"]] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("sentence", "fits"),
    [
        ("It fits.", True),
        ("Dr. Jekyll by R. L. Stevenson has 4.5 stars!", True),
        ("它很好。", True),
        ("It fits. Very well.", False),
        ("It fits", False),
        ("It\nfits.", False),
        (" It fits.", False),
        ("x" * 30 + ".", True),
        ("x" * 300 + ".", False),
    ],
)
def test_a_reason_is_one_sentence_by_its_shape(sentence: str, fits: bool) -> None:
    engine = Chooser(sentence)
    reply = chosen(Choose(most=1, ranks=False), engine)
    assert (reply.text == f"1. Whale: {sentence}") == fits


def test_a_reason_that_was_cut_off_says_so_and_a_choice_that_was_is_an_error() -> None:
    reply = chosen(Choose(most=1, ranks=False), Chooser("It fits well."), schedule=schedule(max_tokens=2))
    assert (reply.text, reply.finish_reason) == ("1. Whale: It fits…", "length")
    long = Catalogue.of((Offer("a", "One two three", "x"), Offer("b", "Two three four", "x")))
    items = Segment("candidates", tuple(Item(one.text, one.id) for one in long.offers))
    with pytest.raises(EngineError) as told:
        chosen(Choose(), Chooser(), items, catalogue=long, schedule=schedule(max_tokens=2))
    what = "the answer was cut off before its choices was complete"
    assert str(told.value) == f"{what}. Raise sampling.max_tokens, or ask for a shorter one."


def test_a_plain_prompt_is_refused() -> None:
    with pytest.raises(EngineError) as told:
        chosen(Choose(), Chooser(), prompt=Prompt((user("x"),), plain=True))
    assert str(told.value) == "prompt: a plain prompt has no place for what is asked beside it. Use fuse/chat."


@pytest.mark.parametrize(
    ("why", "problem"),
    [
        ("Why?", "{title}, {text} or both have to be in it, and nothing else in braces."),
        ("Why {name}?", "{title}, {text} or both have to be in it, and nothing else in braces."),
        ("Why {?", "a brace stands alone. Write {column}, and {{ or }} for a brace itself."),
    ],
)
def test_a_question_that_names_no_offer_is_refused(why: str, problem: str) -> None:
    assert list(own_problems(Choose(why=why))) == [(("why",), problem)]
