"""Citations: the numbers in an answer are those of the passages that were in its prompt, and the record has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from vllm_flow.core.messages import user
from vllm_flow.core.record_rows import result_row
from vllm_flow.core.runner import Runner
from vllm_flow.core.segments import Item, Segment, Share
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn
from vllm_flow.stages.cite import Passages
from vllm_flow.stages.fuse import Chat
from vllm_flow.testing import EchoEngine, completion, context, turn

FOUND = Segment("retrieved", (Item("A lamp.", "1: a.md:1", 0.9), Item("A loom.", "2: b.md p. 3", 0.5)))


@pytest.mark.parametrize(
    ("said", "cited", "unknown"),
    [
        ("It is so [1].", [1], ()),
        ("So [2], and [1], and [2] again.", [1, 2], ()),
        ("So [1, 2] or [1;2].", [1, 2], ()),
        ("As [1: a.md:1] says.", [1], ()),
        ("As [3] and [ 12 ] say.", [], (3, 12)),
        ("In the year [1998x], see [a] and [], (1), 1.", [], ()),
        ("", [], ()),
    ],
)
def test_numbers_in_brackets_are_citations(said: str, cited: list[int], unknown: tuple[int, ...]) -> None:
    found = Passages().run(completion(said), FOUND)
    assert [one.number for one in found.passages if one.cited] == cited
    assert found.unknown == unknown


def test_the_sources_stand_below_the_answer_unless_they_are_not_wanted() -> None:
    said = completion("So [2] and [1].")
    assert Passages().run(said, FOUND).text == "So [2] and [1].\n\n[1] a.md:1\n[2] b.md p. 3"
    assert Passages(listed=False).run(said, FOUND).text == "So [2] and [1]."
    assert Passages().run(completion("No idea."), FOUND).text == "No idea."


def test_a_passage_that_had_no_room_in_the_prompt_is_none_that_an_answer_can_cite() -> None:
    ask, engine = turn("What is it?"), EchoEngine()
    found = Segment("retrieved", FOUND.items, share=Share(overflow="last"))
    prompt = Chat(budget=14).run(ask, context(), engine=engine, retrieved=found)
    assert "A lamp." in prompt.messages[-1].text
    assert "A loom." not in prompt.messages[-1].text
    said = completion("So [1] and [2].")
    cited = Passages().run(said, found, prompt=prompt)
    assert ([one.number for one in cited.passages], cited.unknown) == ([1], (2,))
    assert cited.text == "So [1] and [2].\n\n[1] a.md:1"
    whole = Chat().run(ask, context(), engine=engine, retrieved=found)
    assert Passages().run(said, found, prompt=whole) == Passages().run(said, found)


def test_every_passage_is_in_the_record_with_its_score(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(
        "Lamps may be returned within 30 days.\n\n# Wool\n\nWool shrinks in hot water.\n"
    )
    graph = {
        "context": {"use": "context/full"},
        "library": {"use": "source/folder", "path": "docs", "passage": 100, "overlap": 0},
        "retrieved": {"use": "retrieve/bm25", "passages": 1},
        "prompt": {"use": "fuse/chat"},
        "schedule": {"use": "schedule/sampling"},
        "reply": {"use": "infer/generate"},
        "answer": {"use": "cite/passages"},
        "remember": {"use": "context/update"},
    }
    resources = {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}}
    runner = Runner(RunSpec("x", graph, "answer", resources=resources, sampling={"max_tokens": 400}))

    async def run() -> list[Any]:
        return [one async for one in runner.run([Turn("c", user("Does wool shrink? See [1]."))])]

    (result,) = asyncio.run(run())
    text = "Lamps may be returned within 30 days.\n\n# Wool\n\nWool shrinks in hot water."
    assert result_row(result)["value"] == {
        "text": f"{result.value.text}",
        "passages": [
            {"number": 1, "source": "a.md:1", "score": result.value.passages[0].score, "text": text, "cited": True}
        ],
        "unknown": [],
    }
    assert result.value.text.endswith("\n\n[1] a.md:1")
