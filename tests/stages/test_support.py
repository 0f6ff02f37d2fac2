"""The pipeline `support`: for each question of its sample the passage that answers it is found, and numbered in the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_flow.config import compose
from vllm_flow.core.events import Called, Event
from vllm_flow.session import Session


def asked(*overrides: str) -> tuple[dict[str, bool], dict[str, str]]:
    """By conversation whether the reference stands in a passage that was found, and the prompt of its first question."""
    prompts: dict[str, str] = {}

    def observe(event: Event) -> None:
        if isinstance(event, Called):
            prompts.setdefault(event.turn.conversation, event.request.prompt.messages[-1].text)

    with Session(
        compose(["pipeline=support", "engine=echo", *overrides]), record=False, observers=[observe]
    ) as session:
        results = [*session.run()]
    assert [one.failure for one in results] == [None] * 12
    found: dict[str, bool] = {}
    for one in results:
        there = any(str(one.turn.reference) in passage.text for passage in one.value.passages)
        found[one.turn.conversation] = there and found.get(one.turn.conversation, True)
    return found, prompts


def test_by_words_most_of_the_passages_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found, prompts = asked("retrieval=bm25")
    assert [name for name, there in found.items() if not there] == ["returns", "unknown"]
    assert prompts["shipping"].startswith(
        "Passages that may help:\n<retrieved>\n[1: shipping.md:10] ## What it costs\n"
    )
    assert prompts["shipping"].endswith("\n</retrieved>\n\nWhat does shipping to Norway cost?")


def test_by_meaning_all_of_them_are_found_and_none_for_what_no_document_says(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, prompts = asked(f"embedder.path={minilm}")
    assert [name for name, there in found.items() if not there] == ["unknown"]
    assert prompts["unknown"] == "Do you sell garden furniture?"
