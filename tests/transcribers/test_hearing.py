"""Hearing anew: a window that goes wrong is written down at rising temperature, and what does not help is told."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.transcribers.tiny import RATE_HZ, sound, tiny_whisper
from vllm_flow.transcribers import Whisper
from vllm_flow.transcribers.decoding import Decoder, Row
from vllm_flow.transcribers.hearing import TEMPERATURES, Heard, Hearing
from vllm_flow.transcribers.loading import load

WINDOWS = 8


def packed(text: str) -> float:
    """How many times as long it is as when packed."""
    return len(text) / len(zlib.compress(text.encode()))


def test_what_repeats_itself_is_written_down_anew_and_the_same_in_any_company(tmp_path: Path) -> None:
    options = Whisper(path=str(tiny_whisper(tmp_path / "tiny.en")), silence=1.0, logprob_threshold=None)
    loaded = load(options)
    decoder, spelled = Decoder(loaded, lambda: True), loaded.tokenizer.decode
    spectrograms = [loaded.features(sound(2.0, seed), sampling_rate=RATE_HZ, return_tensors="pt") for seed in range(8)]
    states = [decoder.encoded(one.input_features[0]) for one in spectrograms]
    how: Any = [None] * WINDOWS, ["transcribe"] * WINDOWS
    greedy = [row.ids for row in decoder.write(torch.cat(states), *how)]
    loops = [packed(spelled(ids, skip_special_tokens=True)) > 2.4 for ids in greedy]
    assert 2 < sum(loops) < WINDOWS, "where none or all repeat themselves nothing is proven"

    hearing = Hearing(options, decoder, loaded.tokenizer)
    found = hearing.of(states, *how)
    assert found == [hearing.of([one], [None], ["transcribe"])[0] for one in states]
    assert [one.ids != ids for one, ids in zip(found, greedy, strict=True)] == loops
    assert all(one.ids and packed(spelled(one.ids, skip_special_tokens=True)) <= 2.4 for one in found)
    assert {one.doubt for one in found} == {None}


class Written:
    """A decoder that writes what it is told to, by temperature; and spells it."""

    def __init__(self, rows: Mapping[float, tuple[str, float]], silence: float = 0.0) -> None:
        self._rows, self._silence = rows, silence
        self.asked: list[float] = []

    def write(self, states: Any, languages: Any, tasks: Any, temperature: float) -> list[Row]:
        self.asked.append(temperature)
        text, sureness = self._rows[temperature]
        return [Row(tuple(map(ord, text)), sureness, self._silence)] * len(states)

    def decode(self, ids: tuple[int, ...], **how: Any) -> str:
        return "".join(map(chr, ids))


NA = " na" * 60


@pytest.mark.parametrize(
    ("rows", "asked", "text", "doubt"),
    [
        ({0.0: (" Yes.", -0.9)}, 1, " Yes.", None),
        ({0.0: (NA, -0.1), 0.2: (NA, -0.1), 0.4: (" Yes.", -0.9)}, 3, " Yes.", None),
        ({0.0: (" No.", -1.1), 0.2: (" Yes.", -0.9)}, 2, " Yes.", None),
        (dict.fromkeys((0.0, *TEMPERATURES), (NA, -0.1)), 6, NA,
         "the same words again and again, 12.8 times as long as packed"),
        ({**dict.fromkeys((0.0, *TEMPERATURES), (NA, -0.1)), 0.6: (" No.", -2.0), 0.8: (" Yes.", -1.5)}, 6, " Yes.",
         "the model is unsure, with a mean log-probability of -1.50"),
    ],
)  # fmt: skip
def test_the_first_that_is_sound_counts_and_else_the_best(
    rows: dict[float, tuple[str, float]], asked: int, text: str, doubt: str | None
) -> None:
    decoder: Any = Written(rows)
    (found,) = Hearing(Whisper(), decoder, decoder).of([torch.zeros(1, 1, 1)], [None], ["transcribe"])
    assert found == Heard(tuple(map(ord, text)), doubt)
    assert decoder.asked == [0.0, *TEMPERATURES][:asked]


def test_what_is_drawn_says_not_that_nobody_speaks() -> None:
    decoder: Any = Written(
        {0.0: (NA, -0.1), 0.2: (" Good morning all.", -0.8)}, silence=0.65
    )  # speech that begins late
    (found,) = Hearing(Whisper(), decoder, decoder).of([torch.zeros(1, 1, 1)], [None], ["transcribe"])
    assert found == Heard(tuple(map(ord, " Good morning all.")))


def test_where_nobody_speaks_nothing_is_written_down_anew() -> None:
    decoder: Any = Written({0.0: (" you", -1.2)}, silence=0.9)
    assert Hearing(Whisper(), decoder, decoder).of([torch.zeros(1, 1, 1)], [None], ["transcribe"]) == [Heard(None)]
    assert decoder.asked == [0.0]
