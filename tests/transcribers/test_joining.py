"""Texts of windows that overlap, joined: no word twice, none lost."""

from __future__ import annotations

import random

import pytest

from vllm_flow.core.transcripts import Spoken
from vllm_flow.transcribers.joining import joined

STORY = [
    "it",
    "was",
    "the",
    "best",
    "of",
    "times",
    "it",
    "was",
    "the",
    "worst",
    "of",
    "times",
    "it",
    "was",
    "the",
    "age",
    "of",
    "wisdom",
    "it",
    "was",
    "the",
    "age",
    "of",
    "foolishness",
    "it",
    "was",
    "the",
    "epoch",
    "of",
    "belief",
    "it",
    "was",
    "the",
    "epoch",
    "of",
    "incredulity",
    "it",
    "was",
    "the",
    "season",
    "of",
    "light",
    "it",
    "was",
    "the",
    "season",
    "of",
    "darkness",
    "it",
    "was",
    "the",
    "spring",
    "of",
    "hope",
    "it",
    "was",
    "the",
    "winter",
    "of",
    "despair",
    "we",
    "had",
    "everything",
    "before",
    "us",
    "we",
    "had",
    "nothing",
    "before",
    "us",
]
"""It says the same words again and again, which is what makes it hard."""
WORD_S = 0.4


def heard(words: list[str], start_s: float, chance: random.Random, sentence: int) -> tuple[Spoken, ...]:
    """As a window that begins there hears them: in pieces, with times that are a little off."""
    found, now = [], start_s
    while words:
        size = chance.randrange(2, sentence)
        piece, words = words[:size], words[size:]
        ends = now + len(piece) * WORD_S
        found.append(
            Spoken(round(now + chance.uniform(0, 0.3), 2), round(ends + chance.uniform(0, 0.3), 2), " ".join(piece))
        )
        now = ends
    return tuple(found)


def text(pieces: tuple[Spoken, ...]) -> list[str]:
    return " ".join(one.text for one in pieces).split()


def test_texts_that_agree_are_joined_without_doubled_or_lost_words() -> None:
    chance = random.Random(0)
    for _ in range(500):
        stop = chance.randrange(20, len(STORY) - 10)
        start = stop - chance.randrange(6, 16)
        left, right = heard(STORY[:stop], 0, chance, 12), heard(STORY[start:], start * WORD_S, chance, 12)
        whole = joined(left, right, start * WORD_S, stop * WORD_S)
        assert text(whole) == STORY, (start, stop)
        starts = [one.start_s for one in whole]
        assert starts == sorted(starts)
        assert all(one.end_s >= one.start_s for one in whole)


def test_words_that_a_window_cuts_in_two_are_taken_from_the_other() -> None:
    chance = random.Random(1)
    for _ in range(500):
        stop = chance.randrange(24, len(STORY) - 10)
        start = stop - chance.randrange(8, 16)
        left = heard([*STORY[: stop - 1], "wintry"], 0, chance, 12)
        right = heard(["ring", *STORY[start + 1 :]], start * WORD_S, chance, 12)
        assert text(joined(left, right, start * WORD_S, stop * WORD_S)) == STORY


def test_signs_and_capitals_do_not_keep_words_from_agreeing() -> None:
    left = (Spoken(20, 30, "So we went home. And then, it"),)
    right = (Spoken(25, 29, "and then it rained,"), Spoken(29, 33, "all night."))
    assert joined(left, right, 25, 30) == (
        Spoken(20, 29, "So we went home. And then it rained,"), Spoken(29, 33, "all night."),
    )  # fmt: skip


def test_texts_that_agree_in_nothing_are_parted_in_the_middle_of_what_both_heard() -> None:
    left = (Spoken(20, 26, "one two three"), Spoken(28, 30, "x"))
    right = (Spoken(25, 26, "y"), Spoken(28, 34, "four five six"))
    assert joined(left, right, 25, 30) == (Spoken(20, 26, "one two three"), Spoken(28, 34, "four five six"))


def test_where_the_first_fell_silent_the_second_is_taken_from_its_beginning() -> None:
    left, right = (Spoken(20, 26.4, "one two three"),), (Spoken(25, 34, "four five six seven eight nine"),)
    assert text(joined(left, right, 25, 30)) == ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    late = (Spoken(28.5, 34, "four five six"),)
    assert text(joined((Spoken(20, 30, "one two three"),), late, 25, 30)) == [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
    ]


def test_where_one_window_heard_nothing_the_other_is_taken() -> None:
    left, right = (Spoken(0, 20, "one two"),), (Spoken(40, 50, "three four"),)
    assert joined(left, right, 25, 30) == (*left, *right)
    assert joined(left, (), 25, 30) == left
    assert joined((), right, 25, 30) == right
    assert joined((), (), 25, 30) == ()


def test_of_words_that_come_again_those_of_the_same_time_are_taken() -> None:
    left = (Spoken(62, 77, "degree of comparison only ever tried ever failed no matter try again fail again"),)
    right = (Spoken(75, 79, "fail again fail better"),)
    assert text(joined(left, right, 75, 80))[-6:] == ["try", "again", "fail", "again", "fail", "better"]


def test_equal_words_that_were_said_twice_stay_twice() -> None:
    left, right = (Spoken(0, 20, "no"),), (Spoken(31, 32, "no"),)
    assert text(joined(left, right, 25, 30)) == ["no", "no"]


@pytest.mark.parametrize(
    "writing", ["今天天气很好我们去公园散步看见很多花", "きょうはてんきがいいのでこうえんへいきます"]
)
def test_writing_without_blanks_is_joined_by_its_characters(writing: str) -> None:
    left, right = (Spoken(0, 10, writing[:12]),), (Spoken(6, 16, writing[7:]),)
    assert "".join(one.text for one in joined(left, right, 6, 10)) == writing
