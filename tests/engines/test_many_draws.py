"""Draws from a vocabulary of 150,000 tokens: each parameter by itself, by the million and at both ends of the hash.

Ten million draws of each are made from all tokens that it leaves, which are found once, since every row is alike but for
its noise (`many_draws.py`). Draws through all of `choose` are fewer, and the same.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cache

import pytest
import torch

from tests.engines.many_draws import drawn
from tests.engines.reference import distribution
from tests.engines.test_sampler import OUTPUT, PROMPT, UNLIKELY, chance, history, tokens
from vllm_flow.core.sampling import Sampling, in_force
from vllm_flow.engines.transformers import noise
from vllm_flow.engines.transformers.penalties import adjusted
from vllm_flow.engines.transformers.sampler import _tossed, choose, processed

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # PyTorch's compiler calls it
VOCABULARY, INDEX = 150_000, 3
DRAWS, DRAWS_OF_ALL, AT_ONCE = 10_000_000, 40_000, 500
SINGLE = 40
"""So many of the most probable tokens are counted one by one, and all others together."""
BANNED, MASKED = 5, 77_777
"""A bad word that is likely but for that, and a token whose logit is no number."""
FEW = 150
LOWEST, HIGHEST = (-math.log(-math.log1p(-one)) for one in (1 - 2.0**-53, 2.0**-53))
"""Gumbel noise of the extreme hashes: of the uniforms 2^-53 and 1 - 2^-53."""
SETTINGS = [
    Sampling(),
    Sampling(temperature=0.5),
    Sampling(temperature=1.7),
    Sampling(top_k=50),
    Sampling(top_p=0.8),
    Sampling(min_p=0.01),
    Sampling(epsilon_cutoff=0.001),
    Sampling(typical_p=0.7),
    Sampling(xtc_probability=0.4, xtc_threshold=0.05),
    Sampling(top_n_sigma=4.0),
    Sampling(repetition_penalty=1.3),
    Sampling(presence_penalty=1.5),
    Sampling(frequency_penalty=0.7),
    Sampling(dry_multiplier=0.9, dry_base=1.3, dry_allowed_length=1, dry_sequence_breakers=()),
    Sampling(logit_bias={0: -3.0, 6: 2.5, 140_000: 14.0}),
    Sampling(end_bias=1.5, stop_token_ids=(0, 99_999)),
    Sampling(bad_words=("ec", "d")),
    Sampling(min_tokens=6),
    Sampling(min_tokens=6, stop_token_ids=(0, 99_999)),
    Sampling(temperature=1.2, min_p=0.001, top_p=0.95, typical_p=0.95, top_k=FEW, xtc_probability=0.5, presence_penalty=0.5),
]  # fmt: skip
each = pytest.mark.parametrize("sampling", SETTINGS, ids=lambda one: repr(in_force(one)))


def banning(sampling: Sampling) -> Sampling:
    return replace(sampling, bad_words=(*sampling.bad_words, "f"))


@cache
def row() -> torch.Tensor:
    """Logits, float32 [1, vocabulary]: some likely tokens, scattered, those of the history among them; and a long tail."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(1, VOCABULARY, generator=generator) * 2
    logits[0, torch.randperm(VOCABULARY, generator=generator)[:60]] += torch.linspace(6, 12, 60)
    logits[0, :8] = torch.tensor([12.0, 11.0, 10.5, 10.0, 9.5, 15.0, 9.0, 11.5])
    logits[0, MASKED] = -torch.inf
    return logits


def marked(sampling: Sampling) -> torch.Tensor:
    return adjusted(row(), [sampling], [history(sampling, size=VOCABULARY)])


def shares_of(sampling: Sampling) -> torch.Tensor:
    """The probability of each token by the plain definition, float64 [vocabulary]."""
    given = tokens(sampling)
    return torch.tensor(distribution(row()[0].tolist(), sampling, PROMPT, OUTPUT, **given), dtype=torch.float64)


def follows(found: torch.Tensor, shares: torch.Tensor) -> None:
    """The counts of all draws are what the shares make likely, and nothing was drawn that has none."""
    assert shares[BANNED] == shares[MASKED] == 0
    assert found[shares == 0].sum() == 0
    order = shares.argsort(descending=True)
    top, tail = order[:SINGLE], order[SINGLE:]
    counts, wanted = [*found[top].tolist(), int(found[tail].sum())], [*shares[top].tolist(), float(shares[tail].sum())]
    assert chance(counts, wanted, int(found.sum())) > UNLIKELY


def test_every_parameter_that_changes_a_draw_is_tried() -> None:
    tried = {name for one in SETTINGS for name in in_force(one)}
    assert tried == {one.name for one in fields(Sampling)} - {"max_tokens", "stop", "n"}


@each
def test_at_both_ends_of_the_hash_the_definition_still_chooses(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tokens have the lowest hash or all the highest, or some the highest: the best, the last, those without any chance."""
    sampling = banning(sampling)
    logits = marked(sampling)
    for tossed, seed in {_tossed(sampling, seed, INDEX): seed for seed in range(9)}.items():
        shares = shares_of(tossed)
        possible = shares.nonzero()[:, 0]
        last = possible[shares[possible].argmin()]
        for highest in ([], slice(None), shares.argmax(), last, [BANNED, MASKED]):
            bits = torch.zeros(VOCABULARY, dtype=torch.int64)
            bits[highest] = -1
            monkeypatch.setattr(noise, "hashes", lambda keys, ids, bits=bits: bits[ids].expand(len(keys), -1))
            best = (shares.log() + torch.tensor([LOWEST, HIGHEST])[-bits]).argmax()
            assert choose(logits, [sampling], [seed], [INDEX]) == best


def ten_million() -> dict[Sampling, torch.Tensor]:
    """How often each setting drew each token, int64 [vocabulary]. All of them draw with the same noise."""
    found = {one: torch.zeros(VOCABULARY, dtype=torch.int64) for one in SETTINGS}
    ways = [(one, coin) for one in SETTINGS for coin in ((0.0, 1.0) if one.xtc_probability else (None,))]
    left = torch.cat([left_of(one if coin is None else replace(one, xtc_probability=coin)) for one, coin in ways])
    for start in range(0, DRAWS, AT_ONCE):
        seeds = torch.arange(start, start + AT_ONCE)
        keys = noise.hashes(seeds[:, None], torch.tensor([INDEX]))  # what `noise.key` says of each
        coins = torch.tensor([noise.coin(seed, INDEX) for seed in seeds.tolist()], dtype=torch.float64)
        for (one, coin), ids in zip(ways, drawn(left, keys), strict=True):
            mine = ids if coin is None else ids[(coins < one.xtc_probability) == bool(coin)]
            found[one] += mine.bincount(minlength=VOCABULARY)
    return found


def left_of(sampling: Sampling) -> torch.Tensor:
    """Scaled logits of the tokens that are left to draw from, float32 [1, vocabulary]."""
    return processed(marked(banning(sampling)), [sampling], [0], [INDEX])


@pytest.mark.full
@pytest.mark.timeout(4 * 3600)
def test_ten_million_draws_of_each_follow_the_distribution() -> None:
    for sampling, found in ten_million().items():
        assert found.sum() == DRAWS
        follows(found, shares_of(banning(sampling)))


@pytest.mark.full
@pytest.mark.timeout(600)
@each
def test_draws_by_the_million_are_those_of_the_sampler(sampling: Sampling) -> None:
    seeds = range(200)
    keys = noise.hashes(torch.tensor(seeds)[:, None], torch.tensor([INDEX]))
    found = torch.zeros(len(seeds), dtype=torch.int64)
    for coin in {_tossed(sampling, seed, INDEX).xtc_probability for seed in seeds}:
        (ids,) = drawn(left_of(replace(sampling, xtc_probability=coin)), keys)
        mine = torch.tensor([_tossed(sampling, seed, INDEX).xtc_probability == coin for seed in seeds])
        found[mine] = ids[mine]
    logits = marked(banning(sampling)).expand(len(seeds), -1)
    assert torch.equal(found, choose(logits, [banning(sampling)] * len(seeds), seeds, [INDEX] * len(seeds)))


@pytest.mark.full
@pytest.mark.timeout(1800)
@each
def test_draws_from_a_whole_vocabulary_follow_the_distribution(sampling: Sampling) -> None:
    if sampling.typical_p < 1 or sampling.xtc_probability:  # they put all tokens in order that nothing has cut before
        sampling = replace(sampling, top_k=FEW)
    sampling = banning(sampling)
    logits, found = marked(sampling), torch.zeros(VOCABULARY, dtype=torch.int64)
    for start in range(0, DRAWS_OF_ALL, 200):
        seeds = range(start, start + 200)
        chosen = choose(logits.expand(200, -1), [sampling] * 200, seeds, [INDEX] * 200)
        found += chosen.bincount(minlength=VOCABULARY)
    assert found.sum() == DRAWS_OF_ALL
    follows(found, shares_of(sampling))
