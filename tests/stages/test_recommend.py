"""Candidates of a catalogue: by what was said, shown, liked and disliked, and never what is known already."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.embedders.counting import WordEmbedder
from tests.pictures import drawn
from vllm_flow.core.catalogue import Catalogue, Offer
from vllm_flow.core.descriptions import Described
from vllm_flow.core.errors import ConfigError, FlowError
from vllm_flow.core.messages import Message, assistant, user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.context import Facts
from vllm_flow.stages.recommend import Candidates
from vllm_flow.testing import EchoEngine, MemoryStore, turn

WORDS = ("sea", "ghost", "love")
SHELF = Catalogue.of(
    Offer(name, name.title(), text, popularity)
    for name, text, popularity in (
        ("pirates", "sea sea love", 5.0),
        ("whale", "sea", None),
        ("manor", "ghost", 900.0),
        ("bride", "love ghost", 40.0),
        ("ball", "love", 3.0),
        ("island", "sea", 1.0),
    )
)


def found(
    stage: Candidates, said: Turn | str, context: Context | None = None, described: Described | None = None
) -> list[str]:
    of = said if isinstance(said, Turn) else turn(said)
    segment = asyncio.run(stage.run(of, SHELF, WordEmbedder(*WORDS), context=context, described=described))
    return [item.source for item in segment.items]


def remembering(**facts: str) -> Context:
    """As context/facts leaves it."""
    store, said = MemoryStore(), replace(turn("x"), remember=facts)
    store.begin(said)
    return asyncio.run(Facts().run(said, store, EchoEngine()))


def test_the_nearest_come_first_and_of_equal_ones_the_first_of_the_catalogue() -> None:
    segment = asyncio.run(Candidates(most=3).run(turn("the sea"), SHELF, WordEmbedder(*WORDS)))
    items = (Item("sea", "whale", 1.0), Item("sea", "island", 1.0), Item("sea sea love", "pirates", 0.8944))
    assert segment == Segment("candidates", items, "What can be recommended:", "last", Share(overflow="last"))


def test_what_is_liked_draws_what_is_disliked_repels_and_neither_is_recommended() -> None:
    context = remembering(Whale="liked", manor="Disliked")
    assert found(Candidates(most=6), "", context) == ["island", "pirates", "ball", "bride"]
    assert found(Candidates(most=1, said=0.0), "love", context) == ["island"]
    assert found(Candidates(most=1, said=1.0), "love", context) == ["ball"]
    assert found(Candidates(most=6, liked=("Whale",), disliked=("manor",)), "") == [
        "island",
        "pirates",
        "ball",
        "bride",
    ]


def test_what_a_model_has_noted_and_what_is_no_taste_count_for_nothing() -> None:
    rows = [
        {"key": "soup", "value": "liked", "turn": 1, "told": False},
        {"key": "city", "value": "Oslo", "turn": 1, "told": True},
        {"key": "Whale", "value": None, "turn": 1, "told": True},
    ]
    context = Context(state={"memory": {"known": rows}})
    assert found(Candidates(most=1), "sea", context) == ["whale"]


def test_earlier_questions_count_as_many_as_are_wanted() -> None:
    context = Context((user("ghost"), assistant("Boo."), user("love"), assistant("Well.")))
    assert found(Candidates(most=1), "Something shorter.", context) == ["ball"]
    assert found(Candidates(most=1, earlier=2), "Something shorter.", context) == ["bride"]
    assert found(Candidates(most=1, earlier=0), "ghost", context) == ["manor"]


def test_what_was_shown_counts_as_what_is_liked() -> None:
    picture = drawn()
    described = Described({picture.digest: ("seen: a ship at sea",)})
    assert found(Candidates(most=2), Turn("a", Message("user", (picture,))), described=described) == ["whale", "island"]


def test_where_nothing_was_said_or_liked_the_most_popular_come_first() -> None:
    assert found(Candidates(most=3), "") == ["manor", "bride", "pirates"]
    assert asyncio.run(Candidates(most=1).run(turn(""), SHELF, WordEmbedder(*WORDS))).items[0].score is None


def test_popularity_counts_as_much_as_is_wanted() -> None:
    assert found(Candidates(most=2, popularity=0.0), "love") == ["ball", "bride"]
    assert found(Candidates(most=2, popularity=0.5), "love") == ["bride", "ball"]
    assert found(Candidates(most=2, popularity=1.0), "love") == ["manor", "bride"]


def test_diversity_is_chosen_from_the_pool_of_the_nearest() -> None:
    assert found(Candidates(most=3), "sea") == ["whale", "island", "pirates"]
    assert found(Candidates(most=3, diversity=0.6), "sea")[:2] == ["whale", "manor"]
    assert found(Candidates(most=3, diversity=0.6, pool=3), "sea") == ["whale", "pirates", "island"]


def test_a_name_that_this_turn_says_and_nobody_knows_is_refused_and_one_from_before_is_counted() -> None:
    context = remembering(Wale="liked", zzz="disliked")
    with pytest.raises(FlowError) as refused:
        found(Candidates(), turn("sea", number=1), context)
    assert str(refused.value) == (
        "liked: there is no 'Wale' in the catalogue. Did you mean 'Whale'? "
        "disliked: there is no 'zzz' in the catalogue."
    )
    later = asyncio.run(Candidates(most=1).run(turn("sea", number=2), SHELF, WordEmbedder(*WORDS), context=context))
    assert (later.items[0].source, later.left_out) == (
        "whale",
        (LeftOut("candidates", "tastes", 2, "not in the catalogue"),),
    )


def test_what_was_said_last_counts() -> None:
    rows = [
        {"key": key, "value": value, "turn": number, "told": True}
        for number, (key, value) in enumerate([("whale", "liked"), ("bride", "liked"), ("Whale", "disliked")], start=1)
    ]

    def first(count: int, **options: Any) -> str:
        context = Context(state={"memory": {"known": rows[:count]}})
        return found(Candidates(most=6, against=0.0, **options), "", context)[0]

    assert first(1, disliked=("whale",)) == "island"
    assert (first(2), first(3)) == ("pirates", "manor")


def test_options_are_held_to_the_catalogue_before_anything_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"id": "w", "title": "Whale", "text": "x"}\n')
    graph = {
        "catalogue": {"use": "source/catalogue", "path": "a.jsonl"},
        "found": {"use": "recommend/candidates", "liked": ["Wale", "w"], "disliked": ["whale", "zzz"]},
    }
    resources = {"embedder": {"use": "embedder/transformers", "package": "minilm"}}
    with pytest.raises(ConfigError) as told:
        Pipeline.build(RunSpec("x", graph, "found", resources=resources))
    assert str(told.value).splitlines() == [
        "graph.found: `liked`: there is no 'Wale' in the catalogue. Did you mean 'Whale'?",
        "graph.found: `disliked`: 'whale' is `liked`, too. Keep one of them.",
        "graph.found: `disliked`: there is no 'zzz' in the catalogue.",
    ]
