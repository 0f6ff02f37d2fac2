"""How probable a token was: the numbers themselves, and that asking for them changes nothing."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vllm_flow.core.likelihoods import TokenLikelihood
from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers import drawing, noise
from vllm_flow.engines.transformers.cuts import WIDTHS
from vllm_flow.engines.transformers.likelihood import entropies, likelihoods, weighed
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.order import in_order
from vllm_flow.engines.transformers.penalties import adjusted
from vllm_flow.engines.transformers.row import Job
from vllm_flow.engines.transformers.sampler import processed
from vllm_flow.models.spec import Architecture, Model

from .looping import run
from .reference import distribution
from .test_sampler import LOGITS, OUTPUT, PROMPT, VARIETY, history
from .test_sampler import tokens as spelled

SHAPE = Architecture(32, 2, 4, kv_heads=2, max_context=600)
SAMPLINGS = [{"temperature": 0}, {}, {"temperature": 0.4, "top_p": 0.5}, {"top_k": 2, "presence_penalty": 0.7}]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    found = load(Model("random", architecture=SHAPE), "cpu", request.param)
    yield found
    found.network.close()


def job(place: int, top: int | None) -> Job:
    how = Schedule(Sampling(**{"max_tokens": 5 + place % 4, **SAMPLINGS[place % len(SAMPLINGS)]}))
    asked = {"logprobs": top is not None, "top_logprobs": top or 0}
    return Job(Request(Prompt((user(f"question {place}"),)), how, seed=place, **asked), loop=None)  # type: ignore[arg-type]


def entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share)


def test_numbers_are_those_of_the_raw_and_of_the_drawn_distribution() -> None:
    rows = len(VARIETY)
    table = torch.tensor(LOGITS).expand(rows, -1)
    marked = adjusted(table, VARIETY, [history(one) for one in VARIETY])
    drawn_from = processed(marked, VARIETY, [7] * rows, [0] * rows)
    raw, zeros = distribution(LOGITS, Sampling()), torch.tensor([0] * rows)
    for sampling, (logprob, one) in zip(VARIETY, likelihoods(table, drawn_from, zeros, [3] * rows, str), strict=True):
        coin = float(noise.coin(7, 0) < sampling.xtc_probability)
        fallen = dataclasses.replace(sampling, xtc_probability=coin)
        wanted = distribution(LOGITS, fallen, PROMPT, OUTPUT, **spelled(sampling))
        assert logprob == pytest.approx(math.log(raw[0]), abs=1e-6)
        assert one.raw_entropy == pytest.approx(entropy(raw), abs=1e-6)
        assert one.processed_entropy == pytest.approx(entropy(wanted), abs=1e-5)
        for token, found in (
            (0, one.processed_logprob),
            *((other.id, other.processed_logprob) for other in one.alternatives),
        ):
            share = wanted[token]  # 0 for what is cut, and for what a float64 cannot hold
            assert found == pytest.approx(math.log(share), abs=1e-5) if share else found < -700
        assert [(other.id, other.text) for other in one.alternatives] == [(0, "0"), (1, "1"), (2, "2")]
        assert [other.raw_logprob for other in one.alternatives] == pytest.approx(
            [math.log(p) for p in raw[:3]], abs=1e-6
        )


def test_of_greedy_the_drawn_distribution_is_one_token() -> None:
    table = torch.tensor([[1.0, 3.0, 3.0]])
    ((logprob, one),) = likelihoods(
        table, processed(table, [Sampling(temperature=0)], [0], [0]), torch.tensor([1]), [2], str
    )
    assert logprob == pytest.approx(-math.log(2 + math.exp(-2)))
    assert str((one.processed_logprob, one.processed_entropy)) == "(0.0, 0.0)"  # and not -0.0
    assert [(other.id, other.processed_logprob) for other in one.alternatives] == [(1, 0.0), (2, -math.inf)]


def test_what_is_drawn_is_never_cut_and_what_is_cut_never_drawn() -> None:
    """At widths where the order is looked at in several goes, too."""
    rng = random.Random(3)
    for vocab in (5, WIDTHS[0] + 1, WIDTHS[1] + 7):
        table = torch.randn(12, vocab, generator=torch.Generator().manual_seed(vocab)).round(decimals=1)
        hows = [
            Sampling(
                rng.choice([0.5, 1, 5]), rng.choice([0.5, 0.99, 1]), rng.choice([None, 3, 300]), rng.choice([0, 1e-3])
            )
            for _ in table
        ]
        for seed in range(20):
            drawn_from = processed(table, hows, [seed] * 12, [0] * 12)
            chosen = drawing.choose(table, hows, [seed] * 12, [0] * 12)
            assert bool(drawn_from.gather(-1, chosen[:, None]).isfinite().all())


def test_a_token_of_probability_0_takes_part_in_nothing() -> None:
    table = torch.tensor([[0.0, -math.inf, 0.0]])
    logs, entropies = weighed(table, torch.tensor([[0, 1]]))
    assert logs.tolist() == [[pytest.approx(-math.log(2)), -math.inf]]
    assert entropies.tolist() == [pytest.approx(math.log(2))]
    ((_, one),) = likelihoods(table, table, torch.tensor([0]), [3], str)
    assert [other.id for other in one.alternatives] == [0, 2]


def test_the_most_probable_come_by_logit_and_then_by_id() -> None:
    rng = random.Random(2)
    for _ in range(50):
        row = [rng.choice([0.0, -0.0, 1.5, -2.5, 1e-40, -math.inf, 3e38]) for _ in range(rng.randint(1, 30))]
        count = rng.randint(1, len(row))
        wanted = sorted(range(len(row)), key=lambda token: (-row[token], token))[:count]
        assert in_order(torch.tensor([row, row[::-1]]), count)[0].tolist() == wanted


def test_numbers_do_not_depend_on_the_number_of_rows() -> None:
    table = torch.randn(70, 5000) * 4
    ids = table.argmax(-1, keepdim=True)
    logs, entropies = weighed(table, ids)
    for row in range(70):
        alone = weighed(table[row : row + 1], ids[row : row + 1])
        assert (logs[row].item(), entropies[row].item()) == (alone[0].item(), alone[1].item())


def test_asking_changes_no_token_and_numbers_are_bitwise_the_same_in_company(loaded: Loaded) -> None:
    assert loaded.facts["deterministic"] is True
    jobs = [job(place, (None, 0, 3)[place % 3]) for place in range(24)]
    together = run(Loop(loaded, Limits()), jobs)
    silent = run(Loop(loaded, Limits()), [job(place, None) for place in range(24)])
    for one, quiet in zip(jobs, silent.values(), strict=True):
        assert [token.id for token in together[one]] == [token.id for token in quiet]
    for one in jobs[::5]:
        (alone,) = run(Loop(loaded, Limits()), [dataclasses.replace(one)]).values()
        assert [bare(token) for token in together[one]] == [bare(token) for token in alone]
    for place, tokens in enumerate(together.values()):
        assert all((token.likelihood is not None) == (place % 3 > 0) == (token.logprob is not None) for token in tokens)
        for token in tokens if place % 3 else ():
            check(token, (0, 3)[place % 3 - 1])


def bare(token: Token) -> tuple[int, float | None, TokenLikelihood | None]:
    return token.id, token.logprob, token.likelihood


def check(token: Token, count: int) -> None:
    assert token.likelihood
    listed = token.likelihood.alternatives
    assert len(listed) == count
    for other in listed:
        if other.id == token.id:
            assert (other.raw_logprob, other.processed_logprob) == (token.logprob, token.likelihood.processed_logprob)


def test_nothing_is_computed_that_nobody_asked_for_and_once_a_step_for_all_who_did(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = drawing.likelihoods

    def counting(logits: torch.Tensor, *rest: Any) -> Any:
        calls.append(len(logits))
        return real(logits, *rest)

    monkeypatch.setattr(drawing, "likelihoods", counting)
    run(Loop(loaded, Limits()), [job(4 * place, None) for place in range(6)])
    assert calls == []
    run(Loop(loaded, Limits()), [job(4 * place, 0 if place < 4 else None) for place in range(6)])
    assert calls[0] == 4
    assert len(calls) == 5


def test_entropies_by_themselves_are_those_beside_log_probabilities_alone_and_in_company() -> None:
    logits = torch.randn(9, 50_000, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 30, 9)[:, None]
    logits[3, 100:] = -torch.inf
    logits[4] = -torch.inf
    logits[4, 7] = 3.0
    _, wanted = weighed(logits, torch.zeros((9, 1), dtype=torch.int64))
    found = entropies(logits)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-6)
    assert found[4] == 0
    assert all(torch.equal(entropies(logits[row : row + 1]), found[row : row + 1]) for row in range(9))
