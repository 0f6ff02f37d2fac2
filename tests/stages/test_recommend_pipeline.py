"""The pipeline `recommend`: its sample is answered from the catalogue alone, and tastes are remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.embedders.tiny import tiny_sentences
from vllm_flow.config import compose
from vllm_flow.core.results import Result
from vllm_flow.session import Session

SHORT = ["pipeline=recommend", "engine=echo", "graph.reply.why=null"]


def answered(*overrides: str) -> list[Result]:
    with Session(compose([*SHORT, *overrides]), record=False) as session:
        results = [*session.run()]
    assert [one.failure for one in results] == [None] * len(results)
    return results


def titles(result: Result) -> list[str]:
    return [one["title"] for one in result.value.data["recommended"]]


def test_with_weights_of_chance_the_answers_are_data_and_what_was_liked_is_not_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = f"embedder.path={tiny_sentences(tmp_path / 'tiny')}"
    all_of_them = ["embedder.kept=false", "graph.candidates.most=99", "graph.reply.most=99", "graph.reply.ranks=false"]
    results = answered(folder, *all_of_them)
    assert [len(titles(one)) for one in results] == [36, 34, 33, 35, 36, 36]
    assert not {"Dracula", "Emma", "Frankenstein"} & {*titles(results[2])}
    assert results[0].value.text.splitlines()[0] == f"1. {titles(results[0])[0]}"


def test_by_meaning_the_expected_book_is_among_six_candidates_but_where_the_wish_is_vague(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for one in answered(f"embedder.path={minilm}", "graph.reply.most=6", "graph.reply.ranks=false"):
        found[one.turn.text] = one.turn.reference in titles(one)
    assert [said for said, there in found.items() if not there] == ["Something dark for long evenings, please."]
