"""Parameters that move within an answer, in the transformers engine: each token is drawn with the value of its place."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import tiny
from tests.engines.streams import said
from vllm_flow.core.moving import Moving, Now, Steered
from vllm_flow.core.registry import schedule as registered
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Request
from vllm_flow.engines.transformers import noise
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Model
from vllm_flow.testing import prompt, schedule

TOKENS = 24
COOLING = {"linear": {"from": 1.6, "to": 0.4, "over": TOKENS}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.save(folder, "Llama")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    engine = Transformers(Model("tiny", path=str(folder)), threads=1, dtype="float32").open()
    yield engine
    engine.close()


def by_hand(network: Any, read: tuple[int, ...], seed: int, temperatures: list[float]) -> list[int]:
    """A loop as anybody would write it, with the noise of the seed."""
    ids, output = torch.arange(network.config.vocab_size)[None], list[int]()
    for index, temperature in enumerate(temperatures):
        with torch.inference_mode():
            logits = network(torch.tensor([[*read, *output]])).logits[0, -1].float()
        key = torch.tensor([[noise.signed(noise.key(seed, index))]])
        output.append(int((logits / temperature + noise.gumbel(key, ids)[0]).argmax()))
    return output


def test_a_scheduled_temperature_gives_what_a_loop_by_hand_gives(engine: Engine, folder: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    how = schedule(temperature=COOLING, max_tokens=TOKENS)
    for seed in range(5):
        (tokens,) = said(engine, Request(prompt("hi there"), how, seed))
        assert tokens[-1].finish is not None
        read = tokens[-1].finish.prompt_ids
        assert read is not None
        temperatures = [1.6 - 1.2 * index / TOKENS for index in range(len(tokens))]
        assert [token.id for token in tokens] == by_hand(network, read, seed, temperatures)
        told = [token.moved.values["temperature"] for token in tokens if token.moved is not None]
        assert told == pytest.approx(temperatures, abs=1e-12)


def shapes(number: int) -> dict[str, Any]:
    """64 ways in which temperature and top-p move, no two of them alike."""
    low, high = 0.3 + number / 100, 1.5 + number / 50
    curves = (
        {"linear": {"from": high, "to": low, "over": 3 + number}},
        {"cosine": {"from": low, "to": high, "over": 5 + number}},
        {"exponential": {"from": high, "factor": 0.9, "limit": low}},
        {"step": {"from": high, "factor": 0.5, "every": 2 + number % 5, "limit": low}},
        {"piecewise": {"points": [[0, low], [4, high], [9, low]]}},
        {"cyclic": {"low": low, "high": high, "period": 3 + number % 7}},
        {"warmup": {"to": high, "over": 4, "from": low, "then": {"linear": {"from": high, "to": low, "over": 9}}}},
        {"product": [{"linear": {"from": 1.0, "to": 0.5, "over": 9}}, {"sum": [low, 0.5]}]},
    )
    return {"temperature": curves[number % 8], "top_p": {"linear": {"from": 1.0, "to": 0.5, "over": 4 + number}}}


def test_64_schedules_in_one_batch_say_what_each_says_alone(engine: Engine) -> None:
    requests = [
        Request(prompt(f"question {number}"), schedule(**shapes(number), max_tokens=4 + number % 12), number)
        for number in range(64)
    ]
    together = said(engine, *requests)
    for request, tokens in zip(requests, together, strict=True):
        (alone,) = said(engine, request)
        assert [(token.id, token.text, token.moved) for token in alone] == [
            (token.id, token.text, token.moved) for token in tokens
        ]


def test_a_controller_is_told_what_it_needs_and_what_it_kept(engine: Engine, folder: Path, own_registry: None) -> None:
    heard: list[Now] = []

    @registered("listening", needs=("entropy", "surprise"))
    def listening(now: Now) -> Steered:
        """Hears everything."""
        heard.append(copy(now))
        return Steered(1.0 + now.token / 10, [now.token])

    how = Schedule(Sampling(max_tokens=4), {"temperature": Moving.of(listening)})
    (tokens,) = said(engine, Request(prompt("hi"), how, 3))
    network = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    assert tokens[-1].finish is not None
    read, output = list(tokens[-1].finish.prompt_ids or ()), [token.id or 0 for token in tokens]
    with torch.inference_mode():
        logits = network(torch.tensor([read + output])).logits[0, len(read) - 1 :].double()
    assert {(now.token, now.entropy) for now in heard[:-4]} == {(0, None)}  # asked where it begins
    del heard[:-4]
    assert [now.token for now in heard] == [0, 1, 2, 3]
    for now, logs in zip(heard, logits.log_softmax(-1), strict=False):
        assert now.entropy == pytest.approx(float(-(logs.exp() * logs).sum()), rel=1e-4)
    assert (heard[0].surprise, heard[0].before, heard[0].state) == (None, None, None)
    for place in (1, 2, 3):
        temperature = 1.0 + (place - 1) / 10
        drawn_from = (logits[place - 1] / temperature).log_softmax(-1)
        assert heard[place].surprise == pytest.approx(-float(drawn_from[output[place - 1]]), rel=1e-4)
        assert (heard[place].before, heard[place].state) == (temperature, [place - 1])
    moved = [token.moved for token in tokens]
    assert [set(one.signals) for one in moved if one] == [{"entropy"}, *[{"entropy", "surprise"}] * 3]
