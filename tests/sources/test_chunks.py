"""Chunks: slices of the text, bounded, in order, with nothing left out between them."""

from __future__ import annotations

import random

import pytest

from vllm_flow.sources.chunks import chunks

TEXT = """# Returns

You may return a lamp within 30 days.

Keep the box.
It protects the glass.

## Refunds

The money comes back within a week.
"""


def cut(text: str, most: int, overlap: int = 0) -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in chunks(text, most, overlap)]


def test_a_short_text_is_one_passage_and_an_empty_one_none() -> None:
    assert cut(TEXT, 1000) == [(1, TEXT.strip())]
    assert cut(" \n\n ", 100) == []


def test_a_text_is_cut_between_paragraphs_and_a_heading_stays_with_what_follows() -> None:
    assert cut(TEXT, 60) == [
        (1, "# Returns\n\nYou may return a lamp within 30 days."),
        (5, "Keep the box.\nIt protects the glass."),
        (8, "## Refunds\n\nThe money comes back within a week."),
    ]


def test_a_passage_begins_with_the_paragraphs_that_ended_the_one_before() -> None:
    text = "\n\n".join(f"Paragraph number {place}." for place in range(6))
    assert [one for _, one in cut(text, 70, 25)] == [
        "Paragraph number 0.\n\nParagraph number 1.\n\nParagraph number 2.",
        "Paragraph number 2.\n\nParagraph number 3.\n\nParagraph number 4.",
        "Paragraph number 4.\n\nParagraph number 5.",
    ]
    long = "Short.\n\n" + "word " * 30
    assert cut(long, 100, 50)[0] == (1, "Short.")  # it does not fit beside what follows


def test_a_long_paragraph_is_cut_at_the_end_of_a_line_else_a_sentence_else_a_word() -> None:
    assert [one for _, one in cut("first line\nsecond line", 15)] == ["first line", "second line"]
    assert [one for _, one in cut("One is here. Two is there.", 20)] == ["One is here.", "Two is there."]
    assert [one for _, one in cut("今天天气很好。我们去公园散步吧。", 12)] == ["今天天气很好。", "我们去公园散步吧。"]
    assert [one for _, one in cut("alpha beta gamma", 12)] == ["alpha beta", "gamma"]
    assert [one for _, one in cut("x" * 25, 10)] == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize("overlap", [0, 30])
def test_whatever_the_text_passages_are_bounded_slices_with_nothing_but_space_between(overlap: int) -> None:
    draw = random.Random(7)
    for _ in range(300):
        kinds = ["word", "a", "。", ". ", "\n", "\n\n", "# Head", "\n## Sub ", " ", "词语", "x" * 40]
        text = "".join(draw.choices(kinds, k=60))
        covered = 0
        for one in chunks(text, 60, overlap):
            end = one.start + len(one.text)
            assert one.text == text[one.start : end]
            assert 0 < len(one.text) <= 60
            assert one.line == text.count("\n", 0, one.start) + 1
            assert one.start <= covered or not text[covered : one.start].strip()
            assert end > covered
            covered = end
        assert not text[covered:].strip()
