from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
import torch

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers import noise
from vllm_flow.engines.transformers.sampler import WIDTHS, Seen, _count_kept, _order, _penalised, _scaled, choose

from .reference import distribution, penalised

LOGITS = [2.0, 1.5, 1.5, 0.3, -0.2, -1.0, -1.0, -4.0]
PROMPT, OUTPUT = (0, 3), (1, 1, 4)
DRAWS = 20_000
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
    Sampling(temperature=1.7, min_p=0.1, top_k=5, top_p=0.8),
    Sampling(repetition_penalty=1.4),
    Sampling(repetition_penalty=0.7),
    Sampling(presence_penalty=0.8),
    Sampling(frequency_penalty=0.6),
    Sampling(presence_penalty=-0.5, frequency_penalty=-0.3),
    Sampling(0.8, 0.9, 6, 0.02, 1.2, 0.3, 0.2),
]


def seen(prompt: Sequence[int], output: Sequence[int]) -> Seen:
    found = Seen(prompt, len(output))
    for token in output:
        found.add(token)
    return found


def draw(logits, samplings, seeds, indices=None, prompt=(), output=()) -> list[int]:
    rows = len(samplings)
    table = torch.tensor(logits).expand(rows, -1) if not isinstance(logits, torch.Tensor) else logits
    chosen = choose(table, samplings, seeds, indices or [0] * rows, [seen(prompt, output)] * rows)
    assert chosen.dtype == torch.int64
    return chosen.tolist()


@pytest.mark.parametrize("sampling", VARIETY, ids=repr)
def test_draws_follow_the_defined_distribution(sampling):
    wanted = distribution(LOGITS, sampling, PROMPT, OUTPUT)
    seeds = [random.Random(row).getrandbits(64) for row in range(DRAWS)]
    chosen = draw(LOGITS, [sampling] * DRAWS, seeds, prompt=PROMPT, output=OUTPUT)
    found = torch.tensor(chosen).bincount(minlength=len(LOGITS)).tolist()
    assert all(number == 0 for number, share in zip(found, wanted, strict=True) if share == 0)
    possible = [(number, DRAWS * share) for number, share in zip(found, wanted, strict=True) if share > 0]
    chi_square = sum((number - expected) ** 2 / expected for number, expected in possible)
    assert chi_square < 50  # seven degrees of freedom: exceeded once in 10^8


def test_draws_of_successive_tokens_follow_it_too():
    sampling = Sampling(temperature=1.3, top_p=0.9)
    wanted = distribution(LOGITS, sampling)
    chosen = draw(LOGITS, [sampling] * DRAWS, [11] * DRAWS, indices=list(range(DRAWS)))
    found = torch.tensor(chosen).bincount(minlength=len(LOGITS)).tolist()
    assert sum((n - DRAWS * p) ** 2 / (DRAWS * p) for n, p in zip(found, wanted, strict=True) if p) < 50


def test_every_draw_is_the_argmax_of_logit_and_noise_over_what_the_cuts_keep():
    rng = random.Random(5)
    for _ in range(400):
        vocab = rng.randint(1, 40)
        logits = [round(rng.gauss(0, 2), 1) for _ in range(vocab)]  # rounded: many ties
        sampling = Sampling(
            rng.choice([0.0, 0.4, 1.0, 3.0]),
            rng.choice([0.3, 0.8, 1.0]),
            rng.choice([None, 1, 4]),
            rng.choice([0.0, 0.1]),
        )
        seed, index = rng.getrandbits(64), rng.randint(0, 500)
        shares = distribution([float(torch.tensor(one)) for one in logits], sampling)
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


def test_top_p_one_and_min_p_zero_cut_nothing_of_a_large_vocabulary():
    logits = torch.zeros(60, 50_000)
    mixed = [Sampling(top_k=50_000, top_p=1.0), Sampling(), Sampling(top_p=0.999999)] * 20
    seeds = [seed // 3 for seed in range(60)]
    chosen = draw(logits, mixed, seeds)
    assert chosen[0::3] == chosen[1::3]  # the same noise, and nothing cut
    assert max(chosen[1::3]) > 45_000


@pytest.mark.parametrize("vocab", [8, 1000, 49_152])
def test_a_row_draws_the_same_alone_and_in_any_batch(vocab):
    generator = torch.Generator().manual_seed(vocab)
    rows = len(VARIETY)
    logits = torch.randn(rows, vocab, generator=generator) * 3
    before = [seen(*torch.randint(0, vocab, (2, 9), generator=generator).tolist()) for _ in range(rows)]
    seeds, indices = [77 * row for row in range(rows)], list(range(rows))

    def run(which: list[int]) -> list[int]:
        return choose(
            logits[which],
            [VARIETY[row] for row in which],
            [seeds[row] for row in which],
            [indices[row] for row in which],
            [before[row] for row in which],
        ).tolist()

    together = run(list(range(rows)))
    assert [run([row])[0] for row in range(rows)] == together
    shuffled = random.Random(0).sample(range(rows), rows)
    assert run(shuffled) == [together[row] for row in shuffled]


def test_what_a_row_keeps_is_bitwise_the_same_alone_and_in_a_batch():
    logits = torch.randn(32, 49_152, generator=torch.Generator().manual_seed(1)) * 3
    samplings = [Sampling(temperature=0.5 + row / 16, top_p=0.5 + row / 70) for row in range(32)]

    def kept(rows: slice, width: int) -> list[torch.Tensor]:
        scaled = _scaled(logits[rows], samplings[rows])
        return [scaled, *_count_kept(scaled, *_order(logits[rows], width), samplings[rows])]

    for width in (256, 49_152):
        together = kept(slice(None), width)
        for row in range(32):
            alone = kept(slice(row, row + 1), width)
            assert all(torch.equal(one[0], all_rows[row]) for one, all_rows in zip(alone, together, strict=True))


def test_penalties_agree_with_the_plain_definition():
    rng = random.Random(2)
    for _ in range(100):
        logits = [rng.gauss(0, 3) for _ in range(12)]
        sampling = Sampling(
            repetition_penalty=rng.uniform(0.5, 2), presence_penalty=rng.gauss(0, 1), frequency_penalty=rng.gauss(0, 1)
        )
        prompt, output = (tuple(rng.choices(range(12), k=rng.randint(0, 9))) for _ in range(2))
        found = _penalised(torch.tensor([logits]), [sampling], [seen(prompt, output)])[0].tolist()
        for one, other in zip(found, penalised(logits, sampling, prompt, output), strict=True):
            assert math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-5)


def test_neutral_penalties_beside_others_change_no_bit():
    logits = torch.tensor([[1.1, -2.2, 0.0, -0.0, -torch.inf]]).expand(2, -1)
    found = _penalised(logits, [Sampling(), Sampling(repetition_penalty=2.0)], [None, seen(range(5), range(5))])
    assert torch.equal(found[0].view(torch.int32), logits[0].view(torch.int32))


def test_impossible_tokens_are_never_drawn():
    logits = [-math.inf, 0.0, -math.inf, 0.0]
    for sampling in (Sampling(), Sampling(top_p=0.99), Sampling(min_p=0.01), Sampling(temperature=1e-40)):
        assert {draw(logits, [sampling], [seed])[0] for seed in range(60)} == {1, 3}


def test_bfloat16_logits_are_drawn_from_in_float32():
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert (
        choose(logits, [Sampling(top_p=0.9)], [1], [2]).tolist()
        == choose(logits.float(), [Sampling(top_p=0.9)], [1], [2]).tolist()
    )


def test_a_penalty_without_what_was_seen_is_refused():
    with pytest.raises(ValueError, match=r"^a penalty is in force, so what was seen is needed$"):
        choose(torch.zeros(1, 3), [Sampling(presence_penalty=1.0)], [0], [0])


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
            rng.choice([0.3, 1.0, 2.5]),
            rng.choice([0.1, 0.9, 0.999, 1.0]),
            rng.choice([None, 1, 40, WIDTHS[0], 5000]),
            rng.choice([0.0, 0.0, 0.02, 0.6]),
        )
        for _ in range(rows)
    ]
    found = draw(logits, samplings, list(range(rows)))
    monkeypatch.setattr("vllm_flow.engines.transformers.sampler.WIDTHS", ())
    assert draw(logits, samplings, list(range(rows))) == found
