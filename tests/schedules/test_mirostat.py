"""Mirostat against the paper's algorithm, in a loop with made-up models and with a real one."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path
from statistics import fmean

import pytest

from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.values import Request
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Model
from vllm_flow.schedules import Mirostat
from vllm_flow.testing import prompt, schedule

from .driving import driven

TOKENS = 512


def zipf(rng: random.Random, size: int = 400) -> list[float]:
    """Probabilities of tokens, falling as those of words do, once steeply and once not."""
    weights = [(rank + 1) ** -rng.uniform(0.7, 1.6) for rank in range(size)]
    return [one / sum(weights) for one in sorted(weights, reverse=True)]


def mirostat_2(
    models: list[list[float]], draws: list[float], tau: float, eta: float
) -> tuple[list[float], list[float]]:
    """Algorithm 2 of arXiv:2007.14966: the largest surprise that is left at each token, and the surprises in bits."""
    mu, mus, surprises = 2 * tau, [], []
    for probabilities, draw in zip(models, draws, strict=True):
        mus.append(mu)
        left = [one for one in probabilities if -math.log2(one) <= mu] or probabilities[:1]
        share = drawn([one / sum(left) for one in left], draw)
        surprises.append(-math.log2(share))
        mu -= eta * (surprises[-1] - tau)
    return mus, surprises


def drawn(shares: list[float], draw: float) -> float:
    """The probability of the token that a number from 0 to 1 falls upon."""
    total = 0.0
    for share in shares:
        total += share
        if draw < total:
            return share
    return shares[-1]


@pytest.mark.parametrize(("tau", "eta"), [(1.5, 0.1), (3.0, 0.1), (3.0, 1.0), (5.0, 0.5)])
def test_it_is_the_paper_s_second_algorithm_and_holds_its_target(tau: float, eta: float) -> None:
    """In a loop: its cut shapes the distribution, a token is drawn, and its surprise comes back in nats."""
    rng = random.Random(8)
    models, draws = [zipf(rng) for _ in range(TOKENS)], [rng.random() for _ in range(TOKENS)]
    mus, surprises = mirostat_2(models, draws, tau, eta)
    moving, now, cuts, nats = Moving.of(Mirostat(tau, eta)), Now(), [], []
    for place, (probabilities, draw) in enumerate(zip(models, draws, strict=True)):
        now.token, now.surprise = place, nats[-1] if nats else None
        given = moving.at(now)
        now.before, now.state = given.value, given.state
        cuts.append(given.value)
        left = [one for one in probabilities if one >= min(given.value, max(probabilities))]
        nats.append(-math.log(drawn([one / sum(left) for one in left], draw)))
    assert cuts == pytest.approx([2.0**-mu for mu in mus], rel=1e-9)
    assert [one / math.log(2) for one in nats] == pytest.approx(surprises, abs=1e-9)
    assert fmean(surprises) == pytest.approx(tau, rel=0.05)


def test_what_it_remembers_does_not_run_away_beyond_its_bounds() -> None:
    """A model that says only what is sure, and then what is not: bounded, the cut is back at once."""
    signals = [{"surprise": 0.0}] * 500 + [{"surprise": 6.0 * math.log(2)}] * 20
    bounded, free = (driven(Mirostat(3.0, rate=0.5, low=low), signals) for low in (2.0**-8, 0.0))
    assert bounded[499] == 2.0**-8
    assert bounded[-1] == 1.0
    assert free[-1] < 1e-100


def test_it_steers_the_cutoff_alone() -> None:
    (found,) = SamplingPlan.option_problems({"temperature": {"mirostat": {"target": 3.0}}})
    assert found.problem == "'mirostat' steers epsilon_cutoff, and nothing else. Write it there."


async def surprises_of(engine: object, seed: int, tokens: int, target: float, rate: float) -> list[float]:
    """In bits, of all tokens but the last: what the engine told the schedule."""
    how = {"min_tokens": tokens, "max_tokens": tokens, "epsilon_cutoff": {"mirostat": {"target": target, "rate": rate}}}
    request = Request(prompt("Tell me a long story about a lighthouse."), schedule(**how), seed)
    moved = [token.moved async for token in engine.generate(request)]  # type: ignore[attr-defined]
    return [one.signals["surprise"] / math.log(2) for one in moved[1:]]


def means(folder: Path, seeds: range, tokens: int, target: float, rate: float = 0.1) -> list[float]:
    """The mean surprise of several answers of SmolLM2, in bits a token."""
    engine = Transformers(Model("smollm2", path=str(folder))).open()

    async def all_of() -> list[list[float]]:
        return await asyncio.gather(*(surprises_of(engine, seed, tokens, target, rate) for seed in seeds))

    try:
        return [fmean(one) for one in asyncio.run(all_of())]
    finally:
        engine.close()


def test_a_short_answer_of_smollm2_comes_near_the_target(smollm2: Path) -> None:
    found = means(smollm2, range(4), tokens=48, target=2.5, rate=1.0)
    assert fmean(found) == pytest.approx(2.5, rel=0.1), found


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", [2.0, 3.0])
def test_smollm2_holds_the_target_within_5_percent_over_512_tokens(smollm2: Path, target: float) -> None:
    assert means(smollm2, range(1, 3), TOKENS, target) == pytest.approx([target] * 2, rel=0.05)
