"""Windows of a recording, and what the model says of when things were said."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from vllm_flow.transcribers.windows import Piece, Told, Window, rest, told, windows

FIRST, STEP_S = 1000, 0.02


def late(from_s: float, to_s: float) -> float:
    """Quietest at the end."""
    return to_s


def test_a_recording_that_fits_is_one_window() -> None:
    assert windows(12.5, 30, 5, late) == [Window(0.0, 12.5, None)]
    assert windows(30.0, 30, 5, late) == [Window(0.0, 30.0, None)]


@pytest.mark.parametrize("seconds", [30.01, 54.9, 55.0, 55.1, 600.0, 3599.5])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_windows_cover_a_recording_and_overlap(seconds: float, share: float) -> None:
    found = windows(seconds, 30, 5, lambda from_s, to_s: from_s + share * (to_s - from_s))
    assert (found[0].start_s, found[-1].end_s, found[-1].next_s) == (0, seconds, None)
    for one, after in pairwise(found):
        assert one.end_s - one.start_s == pytest.approx(30)
        assert one.next_s == after.start_s
        assert one.end_s - after.start_s == pytest.approx(10 - 5 * share)
        assert after.end_s > one.end_s


def test_what_the_model_left_over_is_heard_unless_the_next_window_hears_it() -> None:
    middle, last = Window(25, 55, 50.0), Window(50, 70, None)
    assert rest(middle, None) is None
    assert rest(middle, 10.0) == Window(25, 55, 50.0, 10.0)
    assert rest(middle, 25.9) == Window(25, 55, 50.0, 25.9)
    assert rest(middle, 26.0) is None
    assert rest(last, 19.0) == Window(50, 70, None, 19.0)
    assert rest(last, 20.0) is None


def test_a_model_that_comes_nowhere_is_not_asked_again() -> None:
    assert rest(Window(0, 30, None, 12.0), 12.0) is None


def test_times_cut_what_was_written_into_pieces() -> None:
    ids = [FIRST, 1, 2, FIRST + 100, FIRST + 150, 3, FIRST + 200]
    both = Piece(0.0, 2.0, (1, 2)), Piece(3.0, 4.0, (3,))
    assert told(ids, FIRST, STEP_S, 30.0) == Told(both)
    assert told(ids[:-1], FIRST, STEP_S, 9.0) == Told(both[:1], Piece(3.0, 9.0, (3,)), 2.0)
    assert told([FIRST + 5, 1, 2], FIRST, STEP_S, 9.0) == Told((Piece(0.1, 9.0, (1, 2)),))
    assert told([], FIRST, STEP_S, 9.0) == Told(())


def test_no_time_is_behind_the_end_of_what_was_heard() -> None:
    ids = [FIRST, 1, FIRST + 100, FIRST + 100, 2, FIRST + 150]
    assert told(ids, FIRST, STEP_S, 1.5) == Told((Piece(0.0, 1.5, (1,)), Piece(1.5, 1.5, (2,))))


def test_pieces_are_those_of_transformers_whatever_was_written() -> None:
    chance = random.Random(0)
    for _ in range(2000):
        ids, now = [], 0
        for _ in range(chance.randrange(1, 12)):
            if chance.random() < 0.5:
                now = min(1500, now + chance.randrange(0, 300))
                ids.append(FIRST + now)
            else:
                ids.append(chance.randrange(1, 50))
        theirs, offset = transformers_own(ids)
        found = told(ids, FIRST, STEP_S, 30.0)
        assert [one.ids for one in found.pieces] == [one for one in theirs if one], ids
        assert offset == (3000 if found.reached_s is None else round(found.reached_s / STEP_S) * 2), ids


def transformers_own(ids: list[int]) -> tuple[list[tuple[int, ...]], int]:
    """The texts of the segments, and how many frames it goes on."""
    found, offset = WhisperForConditionalGeneration._retrieve_segment(
        seek_sequence=torch.tensor(ids), seek_outputs=[{}], time_offset=torch.zeros(1, dtype=torch.float64),
        timestamp_begin=FIRST, seek_num_frames=torch.tensor([3000]), time_precision=STEP_S,
        time_precision_features=0.01, input_stride=2, prev_idx=0, idx=0, return_token_timestamps=False,
        decoder_input_ids=torch.zeros(1, 1),
    )  # fmt: skip
    return [tuple(one for one in part["tokens"].tolist() if one < FIRST) for part in found], int(offset)
