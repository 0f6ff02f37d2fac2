"""A ledger at the terminal."""

from __future__ import annotations

from vllm_flow.cli.ledger_shown import ledger_lines, left_out_lines
from vllm_flow.core.ledger import Entry, Ledger
from vllm_flow.core.segments import LeftOut

GONE = LeftOut("retrieved", "passages", 1, "its share is at most 90 tokens", 44)
CUT = LeftOut("documents", "tokens", 120, "the budget is 900", 120)
KEPT = LeftOut("history", "messages", 8, "older than the newest 8 turns")


def test_each_segment_has_a_line_and_what_is_left_out_another() -> None:
    entries = (Entry("history", 812, 16), Entry("retrieved", 88, 2, ("a.md:1", "b.md:7")), Entry("template", 33))
    assert list(ledger_lines(Ledger(entries, (KEPT, GONE, CUT), 900))) == [
        "segment    tokens  items",
        "history       812     16",
        "retrieved      88      2  a.md:1, b.md:7",
        "template       33",
        "prompt        933         of 900: 33 too many",
        "left out: 8 messages of history: older than the newest 8 turns",
        "left out: 1 passage of retrieved, 44 tokens: its share is at most 90 tokens",
        "left out: 120 tokens of documents: the budget is 900",
    ]


def test_a_prompt_within_its_budget_or_that_nobody_counted_is_not_too_much() -> None:
    assert [*ledger_lines(Ledger((Entry("question", 900),), budget=900))][-1] == "prompt       900         of 900"
    assert [*ledger_lines(Ledger((Entry("question"),), budget=900))][-1] == "prompt         ?         of 900"


def test_what_nobody_counted_is_said_to_be_unknown() -> None:
    lines = list(ledger_lines(Ledger((Entry("question"),))))
    assert lines == ["segment   tokens  items", "question       ?      1", "prompt         ?"]


def test_what_is_left_out_is_told_beside_an_answer() -> None:
    assert list(left_out_lines((KEPT, GONE))) == [
        "(8 messages of history were left out of this prompt: older than the newest 8 turns)",
        "(1 passage of retrieved was left out of this prompt: its share is at most 90 tokens)",
    ]
