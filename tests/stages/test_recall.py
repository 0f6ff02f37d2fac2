"""Policies that look things up in the conversation: what was told long ago is in the prompt when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.embedding import Embedder
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.events import Called, Event
from vllm_flow.core.messages import Message, Text, assistant, system, user
from vllm_flow.core.runner import Runner
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Context, Prompt, Turn
from vllm_flow.embedders import Sentences
from vllm_flow.stages.context.recall import Bm25, Retrieval
from vllm_flow.testing import MemoryStore, completion, turn

FACT = "By the way, my cat is called Mochi and she is three years old."
TOPICS = (
    "What is a good recipe for soup?", "How tall is Mount Everest?", "Tell me about the history of Rome.",
    "Which tree grows fastest?", "Explain how a bicycle stays upright.", "How do I learn to swim?",
    "What do bees eat in winter?", "How are bridges built?", "Why is the sea salty?", "Who invented the telephone?",
)  # fmt: skip


def store_of(*said: tuple[str, str]) -> MemoryStore:
    store = MemoryStore()
    for number, (asked, answered) in enumerate(said, start=1):
        one = turn(asked, number=number)
        store.begin(one)
        store.commit(one, completion(answered), {"count": number})
    return store


TOLD = (("I live in Lima.", "Nice."), ("Soup?", "Boil."), ("Rome?", "Old."), ("Trees?", "Green."))


def test_what_a_tool_said_is_looked_through_and_told_as_its_own() -> None:
    said = (
        user("How warm is it?"),
        Message("tool", (Text("Oslo: 12 degrees"),)),
        assistant("12."),
        user("Ok"),
        assistant("Yes"),
    )
    found = Bm25(turns=1, found=1).run(turn("What was it in Oslo?", history=said), MemoryStore())
    (item,) = found.segments[0].items
    assert (item.text, item.source) == (
        "User: How warm is it?\nTool: Oslo: 12 degrees\nAssistant: 12.",
        "before turn 1",
    )


def test_the_newest_turns_are_there_in_full_and_of_the_older_ones_what_shares_the_rarest_words() -> None:
    found = Bm25(turns=1, found=2).run(turn("Where in Lima do I live?", number=5), store_of(*TOLD))
    item = Item("User: I live in Lima.\nAssistant: Nice.", "turn 1", found.segments[0].items[0].score)
    why = "neither in the newest 1 turns nor among the 2 nearest to the question"
    assert found == Context(
        (user("Trees?"), assistant("Green.")),
        state={"count": 4},
        segments=(Segment("recalled", (item,), "Said earlier in this conversation:", "last", Share(overflow="last")),),
        left_out=(LeftOut("history", "messages", 4, why),),
    )


def test_where_nothing_is_near_nothing_is_recalled_and_what_is_gone_is_counted() -> None:
    found = Bm25(turns=0).run(turn("Elephants!", number=5), store_of(*TOLD))
    assert (found.messages, found.segments, found.dropped) == ((), (), 8)
    everything = Bm25(turns=9).run(turn("Lima?", number=5), store_of(*TOLD))
    assert (len(everything.messages), everything.segments, everything.left_out) == (8, (), ())


def test_of_two_that_are_equally_near_the_later_counts() -> None:
    store = store_of(("My code is 1.", "ok"), ("My code is 2.", "ok"), ("Thanks.", "ok"))
    found = Bm25(turns=1, found=1).run(turn("What is my code?", number=4), store)
    assert [one.source for one in found.segments[0].items] == ["turn 2"]


def test_messages_that_came_with_a_turn_are_looked_through_and_its_rules_stay() -> None:
    history = (system("Be kind."), user("My dog is Rex."), assistant("Good."), user("Soup?"), assistant("Boil."))
    found = Bm25(turns=1).run(Turn("test", user("Who is my dog?"), history, number=1), MemoryStore())
    assert found.messages == (system("Be kind."), user("Soup?"), assistant("Boil."))
    assert [(one.source, one.text) for one in found.segments[0].items] == [
        ("before turn 1", "User: My dog is Rex.\nAssistant: Good.")
    ]
    assert found.left_out == ()


def test_what_is_to_be_remembered_is_no_business_of_theirs_and_said_to_be() -> None:
    asked = Turn("test", user("Hello."), number=1, remember={"name": "Ada"})
    with pytest.raises(ConfigError) as told:
        Bm25().run(asked, MemoryStore())
    problem = "the turn wants name remembered, and this policy keeps no facts. Choose context=facts."
    assert str(told.value) == f"context: {problem}"


def test_a_question_without_an_answer_is_not_recalled() -> None:
    store = store_of(("I live in Lima.", "Nice."))
    store.begin(turn("Lima, Lima!", number=2))
    found = Bm25(turns=0).run(turn("Lima?", number=3), store)
    assert [one.source for one in found.segments[0].items] == ["turn 1"]


class Counting:
    """An embedder that says which texts it was asked for."""

    def __init__(self, inner: Embedder) -> None:
        self.inner, self.texts = inner, list[str]()

    async def embed(self, texts: Any, kind: Any = "passage", *, keep: bool = False, tenant: str = "") -> Any:
        assert not keep  # what people say leaves no trace outside of the store
        assert tenant == "ann"
        self.texts += texts
        return await self.inner.embed(texts, kind)

    def describe(self) -> Mapping[str, Any]:
        return self.inner.describe()

    def close(self) -> None:
        self.inner.close()


def test_by_meaning_what_is_nearest_comes_first_and_has_its_score(minilm: Path) -> None:
    embedder = Counting(Sentences(path=str(minilm)).open())
    store = store_of((FACT, "What a lovely name."), *((one, "Well.") for one in TOPICS), ("I have a dog, too.", "Ah."))
    asked = replace(turn("What is the name of my pet?", number=13), tenant="ann")
    found = asyncio.run(Retrieval(turns=0, found=2).run(asked, store, embedder))
    embedder.close()
    first, second = found.segments[0].items
    assert (first.source, second.source) == ("turn 1", "turn 12")
    assert first.score is not None
    assert second.score is not None
    assert 0.2 < second.score < first.score < 1
    assert found.dropped == 20


def prompts(context: dict[str, Any], resources: dict[str, Any], last: str) -> dict[int, Prompt]:
    """What the engine was given in each of 100 turns, a fact told in the third and asked for in the last."""
    found: dict[int, Prompt] = {}

    def observe(event: Event) -> None:
        if isinstance(event, Called):
            found[event.turn.number or 0] = replace(event.request.prompt, ledger=event.ledger)

    said = [f"{TOPICS[number % 10]} (question {number})" for number in range(1, 101)]
    said[2], said[99] = FACT, last
    graph = {
        "context": context,
        "prompt": {"use": "fuse/chat"},
        "schedule": {"use": "schedule/sampling"},
        "reply": {"use": "infer/generate"},
        "remember": {"use": "context/update"},
    }
    resources |= {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}}
    spec = RunSpec("x", graph, "reply", resources=resources, sampling={"max_tokens": 16})

    async def run() -> None:
        async for result in Runner(spec, observers=(observe,)).run(Turn("c", user(one)) for one in said):
            assert result.failure is None, result.failure

    asyncio.run(run())
    assert len(found) == 100
    return found


def check_recalled(prompt: Prompt) -> None:
    """The fact stands before the question, beside four turns in full, and the ledger says where it is from."""
    assert len(prompt.messages) == 9
    assert f"[turn 3] User: {FACT}" in prompt.messages[-1].text
    assert prompt.ledger is not None
    (entry,) = (one for one in prompt.ledger.entries if one.segment == "recalled")
    assert "turn 3" in entry.sources
    assert entry.items == len(entry.sources) == len(entry.scores) > 0
    assert sorted(entry.scores, reverse=True) == [*entry.scores]
    (left_out,) = prompt.ledger.left_out
    assert left_out.count == 2 * (99 - 4 - entry.items)


def test_a_fact_of_turn_3_is_in_the_prompt_of_turn_100_by_its_words() -> None:
    said = prompts({"use": "context/bm25", "turns": 4, "found": 3}, {}, "What is my cat called?")
    check_recalled(said[100])


def test_a_fact_of_turn_3_is_in_the_prompt_of_turn_100_by_its_meaning(minilm: Path) -> None:
    resources = {"embedder": {"use": "embedder/transformers", "path": str(minilm)}}
    said = prompts({"use": "context/retrieval", "turns": 4, "found": 3}, resources, "Do I own an animal?")
    check_recalled(said[100])


def test_without_it_the_fact_is_gone() -> None:
    said = prompts({"use": "context/window", "turns": 4}, {}, "What is my cat called?")
    holding = [number for number, one in said.items() if FACT in "".join(message.text for message in one.messages)]
    assert holding == [3, 4, 5, 6, 7]


@pytest.mark.full
def test_what_a_turn_costs_does_not_grow(minilm: Path) -> None:
    """Each text of the conversation is embedded once: in turn n two new ones and the question."""
    embedder = Sentences(path=str(minilm)).open()
    asked: list[str] = []
    plain: Any = embedder
    vector = plain._vector
    plain._vector = lambda text, kind: (asked.append(text), vector(text, kind))[1]
    store, counts = MemoryStore(), []
    for number in range(1, 41):
        one = turn(f"{TOPICS[number % 10]} {number}", number=number)
        before = len(asked)
        asyncio.run(Retrieval(turns=2).run(one, store, embedder))
        counts.append(len(asked) - before)
        store.commit(one, completion(f"Answer {number}."), {})
    embedder.close()
    assert counts == [0, 0, 0, *[3] * 37]
