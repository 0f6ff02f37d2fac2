"""The sampler against the definition in plain Python: what it keeps, how often it draws it, and that rows are alone."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
import torch

from vllm_flow.core.sampling import Sampling, in_force
from vllm_flow.engines.transformers import noise
from vllm_flow.engines.transformers.cuts import WIDTHS, Scaling, left_by_cuts, row_sums, sums_of_shares
from vllm_flow.engines.transformers.history import History
from vllm_flow.engines.transformers.penalties import adjusted
from vllm_flow.engines.transformers.sampler import choose
from vllm_flow.engines.transformers.vocabulary import Vocabulary

from . import reference
from .reference import distribution

LOGITS = [2.0, 1.5, 1.5, 0.3, -0.2, -1.0, -1.0, -4.0]
PROMPT, OUTPUT = (0, 3, 2, 4, 1), (1, 1, 4, 2, 4)
TEXTS = ("a", "b", "c", "d", "e", "f", "g", "h")
END = 3
DRAWS = 20_000
UNLIKELY = 1e-7
"""Of a chi-square as large as the one found. The seeds are fixed, so a test that passes once passes always."""
VARIETY = [
    Sampling(),
    Sampling(temperature=0.3),
    Sampling(temperature=2.5),
    Sampling(temperature=1e-30),
    Sampling(temperature=0),
    Sampling(top_p=0.5),
    Sampling(top_p=1e-9),
    Sampling(top_k=1),
    Sampling(top_k=3),
    Sampling(min_p=0.2),
    Sampling(min_p=1.0),
    Sampling(epsilon_cutoff=0.1),
    Sampling(epsilon_cutoff=1.0),
    Sampling(epsilon_cutoff=0.2, top_n_sigma=0.6, temperature=1.4),
    Sampling(epsilon_cutoff=0.05, min_p=0.3, top_p=0.9),
    Sampling(typical_p=0.3),
    Sampling(typical_p=0.7),
    Sampling(typical_p=1e-9),
    Sampling(top_n_sigma=0.4),
    Sampling(top_n_sigma=1.3, temperature=1.8),
    Sampling(xtc_probability=0.4, xtc_threshold=0.1),
    Sampling(xtc_probability=1.0, xtc_threshold=0.0),
    Sampling(xtc_probability=1.0, xtc_threshold=0.5),
    Sampling(xtc_probability=0.5, min_p=0.05, xtc_threshold=0.15),
    Sampling(xtc_probability=0.5, typical_p=0.8, xtc_threshold=0.2),
    Sampling(temperature=1.7, min_p=0.1, top_k=5, top_p=0.8),
    Sampling(temperature=1.7, top_n_sigma=1.5, min_p=0.01, top_k=7, top_p=0.95, typical_p=0.9, xtc_probability=0.3),
    Sampling(repetition_penalty=1.4),
    Sampling(repetition_penalty=0.7),
    Sampling(presence_penalty=0.8),
    Sampling(frequency_penalty=0.6),
    Sampling(presence_penalty=-0.5, frequency_penalty=-0.3),
    Sampling(temperature=0.8, top_p=0.9, top_k=6, min_p=0.02, repetition_penalty=1.2, presence_penalty=0.3, frequency_penalty=0.2),
    Sampling(logit_bias={0: -2.5, 7: 4.0}),
    Sampling(logit_bias={5: 100.0}),
    Sampling(end_bias=1.5, stop_token_ids=(6,)),
    Sampling(end_bias=-2.0, logit_bias={3: 1.0}),
    Sampling(end_bias=50.0, min_tokens=6),
    Sampling(temperature=0, logit_bias={7: 100.0}),
    Sampling(bad_words=("a", "ecg", "ech")),
    Sampling(temperature=0, bad_words=("ea",)),
    Sampling(min_tokens=6),
    Sampling(min_tokens=5),
    Sampling(min_tokens=6, stop_token_ids=(1, 5)),
    Sampling(min_tokens=5, stop_token_ids=(1, 5)),
    Sampling(dry_multiplier=0.8, dry_sequence_breakers=()),
    Sampling(dry_multiplier=0.5, dry_base=1.2, dry_allowed_length=1, dry_sequence_breakers=("b",)),
    Sampling(dry_multiplier=0.5, dry_allowed_length=1, dry_sequence_breakers=("e",)),
    Sampling(
        dry_multiplier=0.5, dry_allowed_length=1, dry_sequence_breakers=(), logit_bias={0: 1.0, 2: -0.5}, bad_words=("b",),
        min_tokens=9, repetition_penalty=1.3, presence_penalty=0.2, top_n_sigma=2.0, top_p=0.9, xtc_probability=0.5,
    ),
]  # fmt: skip


class Letters:
    """A tokenizer with a token for each letter; it has none for a space, as it never needs one."""

    def __len__(self) -> int:
        return len(TEXTS)

    def encode(self, text: str, **how: Any) -> list[int]:
        return [TEXTS.index(letter) for letter in text.strip()]

    def batch_decode(self, ids: list[list[int]], **how: Any) -> list[str]:
        return ["".join(TEXTS[one] for one in some) for some in ids]


def history(
    sampling: Sampling, prompt: Sequence[int] = PROMPT, output: Sequence[int] = OUTPUT, size: int = 8
) -> History:
    limits = replace(sampling, max_tokens=len(output) + 1)
    found = History(list(prompt), list(output), Vocabulary(Letters(), size, frozenset({END})), limits)
    found.understand(sampling)
    return found


def tokens(sampling: Sampling) -> dict[str, Any]:
    """What the texts of a sampling are, for the reference."""
    words = [Letters().encode(word) for word in sampling.bad_words]
    breakers = {place for place, text in enumerate(TEXTS) for one in sampling.dry_sequence_breakers if one in text}
    return {"bad_words": words, "ends": {END}, "breakers": breakers}


def draw(logits, samplings, seeds, indices=None, histories=()) -> list[int]:
    rows = len(samplings)
    table = torch.tensor(logits).expand(rows, -1) if not isinstance(logits, torch.Tensor) else logits
    processed = adjusted(table, samplings, histories or [None] * rows)
    chosen = choose(processed, samplings, seeds, indices or [0] * rows)
    assert chosen.dtype == torch.int64
    return chosen.tolist()


def chance(found: Sequence[int], wanted: Sequence[float], draws: int) -> float:
    """How often a chi-square would be as large if the draws follow the shares wanted; 0 if one that has none was drawn."""
    if any(number > 0 and share == 0 for number, share in zip(found, wanted, strict=True)):
        return 0.0
    possible = [(number, draws * share) for number, share in zip(found, wanted, strict=True) if share > 0]
    square = sum((number - expected) ** 2 / expected for number, expected in possible)
    half = torch.tensor([(len(possible) - 1) / 2, square / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1])) if len(possible) > 1 else 1.0


@cache
def many_seeds() -> list[int]:
    return [random.Random(row).getrandbits(64) for row in range(DRAWS)]


def test_the_chance_of_a_chi_square_can_tell():
    assert chance([520, 480], [0.5, 0.5], 1000) == pytest.approx(0.2059, abs=1e-4)  # square 1.6, one degree
    assert chance([600, 400], [0.5, 0.5], 1000) < UNLIKELY
    assert chance([999, 1], [1.0, 0.0], 1000) == 0


def test_every_parameter_that_changes_a_draw_is_tried():
    tried = {name for one in VARIETY for name in in_force(one)}
    assert tried == {one.name for one in fields(Sampling)} - {"max_tokens", "stop", "n"}


@pytest.mark.parametrize("sampling", VARIETY, ids=lambda one: repr(in_force(one)))
def test_draws_follow_the_defined_distribution(sampling):
    wanted = distribution(LOGITS, sampling, PROMPT, OUTPUT, **tokens(sampling))
    processed = adjusted(torch.tensor([LOGITS]), [sampling], [history(sampling)]).expand(DRAWS, -1)
    chosen = choose(processed, [sampling] * DRAWS, many_seeds(), [0] * DRAWS)
    assert chance(chosen.bincount(minlength=len(LOGITS)).tolist(), wanted, DRAWS) > UNLIKELY


def test_draws_of_successive_tokens_follow_it_too():
    sampling = Sampling(temperature=1.3, top_p=0.9, xtc_probability=0.3)
    chosen = draw(LOGITS, [sampling] * DRAWS, [11] * DRAWS, indices=list(range(DRAWS)))
    found = torch.tensor(chosen).bincount(minlength=len(LOGITS)).tolist()
    assert chance(found, distribution(LOGITS, sampling), DRAWS) > UNLIKELY


def a_sampling(rng: random.Random) -> Sampling:
    """Any of the cuts, alone or together."""
    choices: dict[str, list[Any]] = {
        "temperature": [0.4, 1.0, 3.0],
        "top_p": [0.3, 0.8, 0.999],
        "top_k": [1, 4, 9],
        "min_p": [0.02, 0.1, 0.9],
        "epsilon_cutoff": [0.001, 0.03, 0.4],
        "typical_p": [0.05, 0.5, 0.95],
        "top_n_sigma": [0.3, 1.0, 2.5],
        "xtc_probability": [1.0],
    }
    named = rng.sample(sorted(choices), rng.randint(0, 4))
    return Sampling(
        **{name: rng.choice(choices[name]) for name in named}, xtc_threshold=rng.choice([0.0, 0.1, 0.3, 0.5])
    )


def kept(logits: Sequence[float] | torch.Tensor, samplings: Sequence[Sampling]) -> list[set[int]]:
    """What can be drawn of each row."""
    table = torch.as_tensor(logits).expand(len(samplings), -1)
    found: list[set[int]] = [set() for _ in samplings]
    for rows, order, left in left_by_cuts(table, samplings):
        for row, ids, one in zip(rows.tolist(), order, left, strict=True):
            found[row] = set(ids[one > -torch.inf].tolist())
    return found


def test_what_is_kept_is_what_the_definition_keeps():
    rng = random.Random(7)
    for _ in range(300):
        vocab = rng.randint(1, 60)
        digits = rng.choice([0, 1, 9])  # few: many ties
        logits = [round(rng.gauss(0, 2), digits) for _ in range(vocab)]
        logits = [one if rng.random() < 0.9 else -math.inf for one in logits[:-1]] + logits[-1:]
        logits = torch.tensor(logits).tolist()
        samplings = [a_sampling(rng) for _ in range(8)]
        for found, sampling in zip(kept(logits, samplings), samplings, strict=True):
            wanted = {token for token, share in enumerate(distribution(logits, sampling)) if share > 0}
            assert found == wanted, (logits, sampling)
            assert found


def test_what_is_kept_of_a_large_vocabulary_is_what_the_definition_keeps():
    rng, vocab = random.Random(3), 9000
    logits = (torch.randn(vocab, generator=torch.Generator().manual_seed(2)) * 2).tolist()
    samplings = [a_sampling(rng) for _ in range(24)]
    for found, sampling in zip(kept(logits, samplings), samplings, strict=True):
        assert found == {token for token, share in enumerate(distribution(logits, sampling)) if share > 0}, sampling


def test_bias_bans_and_penalties_agree_with_the_plain_definition():
    rng = random.Random(2)
    for _ in range(300):
        logits = [rng.gauss(0, 3) for _ in range(8)]
        everything: dict[str, Any] = {
            "repetition_penalty": rng.uniform(0.5, 2),
            "presence_penalty": rng.gauss(0, 1),
            "frequency_penalty": rng.gauss(0, 1),
            "dry_multiplier": rng.uniform(0, 1),
            "logit_bias": {token: rng.uniform(-5, 5) for token in rng.sample(range(8), 3)},
            "end_bias": rng.uniform(-5, 5),
            "bad_words": tuple("".join(rng.choices(TEXTS[:3], k=rng.randint(1, 3))) for _ in range(2)),
            "min_tokens": rng.randint(0, 9),
        }
        named = rng.sample(sorted(everything), rng.randint(0, len(everything)))
        sampling = Sampling(
            **{name: everything[name] for name in named},
            dry_base=rng.uniform(1, 2),
            dry_allowed_length=rng.randint(1, 3),
            dry_sequence_breakers=tuple(rng.sample(TEXTS, rng.randint(0, 1))),
        )
        prompt, output = (tuple(rng.choices(range(3), k=rng.randint(0, 12))) for _ in range(2))
        past = history(sampling, prompt, output)
        found = adjusted(torch.tensor([logits]), [sampling], [past])[0].tolist()
        wanted = reference.adjusted(logits, sampling, prompt, output, **tokens(sampling))
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5), (sampling, prompt, output)


def test_every_draw_is_the_argmax_of_logit_and_noise_over_what_the_cuts_keep():
    rng = random.Random(5)
    for _ in range(400):
        vocab = rng.randint(1, 40)
        logits = torch.tensor([round(rng.gauss(0, 2), 1) for _ in range(vocab)]).tolist()  # rounded: many ties
        sampling = replace(a_sampling(rng), xtc_probability=rng.choice([0.0, 0.5]))
        seed, index = rng.getrandbits(64), rng.randint(0, 500)
        coin = float(noise.coin(seed, index) < sampling.xtc_probability)
        shares = distribution(logits, replace(sampling, xtc_probability=coin))
        keys = torch.tensor([[noise.signed(noise.key(seed, index))]])
        gumbel = noise.gumbel(keys, torch.arange(vocab))[0].tolist()
        scores = [math.log(p) + g if p > 0 else -math.inf for p, g in zip(shares, gumbel, strict=True)]
        assert draw(logits, [sampling], [seed], [index]) == [scores.index(max(scores))], (logits, sampling)


def test_ties_go_to_the_lowest_id():
    tied = [0.0, 1.0, 1.0, 1.0, 0.5]
    assert draw(tied, [Sampling(temperature=0)], [9]) == [1]
    assert {draw(tied, [Sampling(top_k=1)], [seed])[0] for seed in range(50)} == {1}
    assert {draw(tied, [Sampling(top_k=2)], [seed])[0] for seed in range(50)} == {1, 2}
    assert {draw(tied, [Sampling(top_p=0.3)], [seed])[0] for seed in range(50)} == {1, 2}
    assert kept(tied, [Sampling(typical_p=0.5), Sampling(top_n_sigma=0.1)]) == [{1, 2}, {1, 2, 3}]
    assert kept(tied, [Sampling(xtc_probability=1.0, xtc_threshold=0.2)]) == [{0, 3, 4}]


def test_xtc_leaves_a_single_top_choice_and_every_token_below_the_threshold():
    logits = torch.tensor([0.55, 0.25, 0.15, 0.05]).log()
    for threshold, left in ((0.3, {0, 1, 2, 3}), (0.2, {1, 2, 3}), (0.1, {2, 3}), (0.0, {3})):
        assert kept(logits, [Sampling(xtc_probability=1.0, xtc_threshold=threshold)]) == [left]


def test_greedy_ignores_the_cuts_and_minds_what_comes_before_them():
    wild = Sampling(temperature=0, xtc_probability=1.0, typical_p=0.01, top_n_sigma=0.1, logit_bias={3: 5.0})
    assert draw([1.0, 2.0, 0.0, 0.0], [wild], [1], histories=[history(wild)]) == [3]


def test_cuts_of_nothing_cut_nothing_of_a_large_vocabulary():
    logits = torch.zeros(60, 50_000)
    mixed = [
        Sampling(top_k=50_000, top_p=1.0), Sampling(), Sampling(xtc_probability=0.9), Sampling(top_n_sigma=1.0),
        Sampling(top_p=0.999999), Sampling(typical_p=0.999999),
    ] * 10  # fmt: skip
    seeds = [seed // 6 for seed in range(60)]
    chosen = draw(logits, mixed, seeds)
    assert chosen[0::6] == chosen[1::6] == chosen[2::6] == chosen[3::6]  # the same noise, and nothing cut
    assert max(chosen[1::6]) > 40_000


@pytest.mark.parametrize("vocab", [8, 1000, 20_000])
def test_a_row_draws_the_same_alone_and_in_any_batch(vocab):
    generator = torch.Generator().manual_seed(vocab)
    rows = len(VARIETY)
    logits = torch.randn(rows, vocab, generator=generator) * 3
    before = [
        history(one, *torch.randint(0, 8, (2, 9), generator=generator).tolist(), size=vocab) for one in VARIETY
    ]  # fmt: skip
    seeds, indices = [77 * row for row in range(rows)], list(range(rows))

    def run(which: list[int]) -> list[int]:
        of = [VARIETY[row] for row in which]
        return draw(
            logits[which],
            of,
            [seeds[row] for row in which],
            [indices[row] for row in which],
            [before[row] for row in which],
        )

    together = run(list(range(rows)))
    assert [run([row])[0] for row in range(rows)] == together
    shuffled = random.Random(0).sample(range(rows), rows)
    assert run(shuffled) == [together[row] for row in shuffled]


def test_what_a_row_keeps_is_bitwise_the_same_alone_and_in_a_batch():
    logits = torch.randn(32, 30_000, generator=torch.Generator().manual_seed(1)) * 3
    how: list[dict[str, Any]] = [
        {},
        {"typical_p": 0.9},
        {"top_n_sigma": 2.0},
        {"xtc_probability": 1.0, "xtc_threshold": 0.001},
        {"epsilon_cutoff": 1e-5},
    ]
    samplings = [Sampling(temperature=0.5 + row / 16, top_p=0.5 + row / 70, **how[row % 5]) for row in range(32)]

    def left(which: range) -> dict[int, torch.Tensor]:
        of = [samplings[row] for row in which]
        found = {}
        for rows, order, some in left_by_cuts(logits[which], of):
            for row, ids, one in zip(rows.tolist(), order, some, strict=True):
                found[which[row]] = torch.stack([ids.double(), one.double()])[:, one > -torch.inf]
        return found

    together = left(range(32))
    for row in range(32):
        assert torch.equal(left(range(row, row + 1))[row], together[row])


def test_neutral_rows_beside_others_change_no_bit_and_what_was_given_stays():
    logits = torch.tensor([[1.1, -2.2, 0.0, -0.0, -torch.inf, 1.0, 1.0, 1.0]]).expand(2, -1)
    before = logits.clone()
    harsh = Sampling(repetition_penalty=2.0, logit_bias={0: 3.0}, end_bias=2.0, bad_words=("f",), dry_multiplier=1.0)
    harsh = replace(harsh, dry_sequence_breakers=())
    found = adjusted(logits, [Sampling(), harsh], [None, history(harsh)])
    assert torch.equal(found[0].view(torch.int32), before[0].view(torch.int32))
    assert torch.equal(logits.view(torch.int32), before.view(torch.int32))
    assert found[1, 5] == -torch.inf


def test_impossible_tokens_are_never_drawn():
    logits = [-math.inf, 0.0, -math.inf, 0.0]
    for how in (
        {}, {"top_p": 0.99}, {"min_p": 0.01}, {"temperature": 1e-40}, {"top_k": 4}, {"typical_p": 0.99}, {"top_n_sigma": 9.0}, {"epsilon_cutoff": 0.01},
    ):  # fmt: skip
        assert {draw(logits, [Sampling(**how)], [seed])[0] for seed in range(60)} == {1, 3}
    xtc = Sampling(xtc_probability=1.0, xtc_threshold=0.0)
    assert {draw(logits, [xtc], [seed])[0] for seed in range(60)} == {3}


def test_a_row_without_any_token_left_disturbs_no_other():
    rows = [one for one in VARIETY if one.temperature > 0]
    for barred in (torch.full((8,), -torch.inf), torch.full((8,), torch.nan)):
        table = torch.cat([torch.tensor([LOGITS]).expand(len(rows), -1), barred.expand(len(rows), -1)])
        seeds, indices = list(range(2 * len(rows))), [0] * 2 * len(rows)
        together = choose(table, rows * 2, seeds, indices).tolist()
        assert (
            together[: len(rows)] == choose(table[: len(rows)], rows, seeds[: len(rows)], indices[: len(rows)]).tolist()
        )


def test_bfloat16_logits_are_drawn_from_in_float32():
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert draw(logits, [Sampling(top_p=0.9)], [1], [2]) == draw(logits.float(), [Sampling(top_p=0.9)], [1], [2])


def test_bans_among_bfloat16_logits_make_a_table_of_float32_and_leave_those_given():
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], dtype=torch.bfloat16)
    limits = Sampling(logit_bias={1: 0.3})
    history = History([0], [], Vocabulary(Letters(), 3, frozenset()), limits)
    found = adjusted(logits, [limits, Sampling()], [history, None])
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.tensor([[1.0, 2.3, 3.0], [3.0, 2.0, 1.0]]))
    assert logits.tolist() == [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]


def test_shares_too_small_for_a_normal_float_change_no_sum():
    logits = torch.linspace(0.0, -40.0, 50_000).expand(4, -1) + torch.zeros(4, 1)
    rows = [Sampling(temperature=one, top_p=0.9) for one in (0.1, 0.2, 0.4, 1.0)]
    scaling = Scaling.of(logits, rows)
    shares = scaling(logits).exp()
    assert ((shares > 0) & (shares < torch.finfo(torch.float32).tiny)).any()
    assert torch.equal(sums_of_shares(logits, scaling, rows, None), row_sums(shares))


@pytest.mark.parametrize(
    "how",
    [
        {"presence_penalty": 1.0},
        {"logit_bias": {1: 1.0}},
        {"end_bias": 1.0},
        {"bad_words": ("a",)},
        {"dry_multiplier": 1.0},
    ],
)
def test_what_looks_back_is_refused_without_a_history(how):
    with pytest.raises(ValueError, match=r"^a bias, ban or penalty is in force, so the history is needed$"):
        adjusted(torch.zeros(1, 3), [Sampling(**how)], [None])


@pytest.mark.parametrize("step", [0.0, 0.25], ids=["few ties", "many ties"])
def test_looking_at_the_most_probable_tokens_first_changes_no_draw(step, monkeypatch):
    rng = random.Random(8)
    vocab, rows = 6000, 160
    logits = (
        torch.randn(rows, vocab, generator=torch.Generator().manual_seed(3)) * torch.linspace(0.2, 6, rows)[:, None]
    )
    logits = (logits / step).round() * step if step else logits
    samplings = [
        Sampling(
            temperature=rng.choice([0.3, 1.0, 2.5]),
            top_p=rng.choice([0.1, 0.9, 0.999, 1.0]),
            top_k=rng.choice([None, 1, 40, WIDTHS[0], 5000]),
            min_p=rng.choice([0.0, 0.0, 0.02, 0.6]),
            epsilon_cutoff=rng.choice([0.0, 0.0, 0.0, 1e-5, 0.01]),
            typical_p=rng.choice([1.0, 1.0, 0.5, 0.97]),
            top_n_sigma=rng.choice([None, None, 0.5, 2.0]),
            xtc_probability=rng.choice([0.0, 0.5]),
            xtc_threshold=rng.choice([0.0001, 0.1]),
        )
        for _ in range(rows)
    ]
    found = draw(logits, samplings, list(range(rows)))
    monkeypatch.setattr("vllm_flow.engines.transformers.cuts.WIDTHS", ())
    assert draw(logits, samplings, list(range(rows))) == found
