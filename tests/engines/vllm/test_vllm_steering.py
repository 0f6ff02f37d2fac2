"""How an answer whose parameters move is steered within vLLM; of vLLM only the calls are here, which are made by hand."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from vllm_flow.core.errors import EngineError
from vllm_flow.core.moving import Moving, Now, Steered
from vllm_flow.core.registry import schedule as registered
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Request
from vllm_flow.engines.shaping import Shapes, hf_tokenizer
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.engines.vllm.steering import Steering
from vllm_flow.models.random_weights import build_tokenizer
from vllm_flow.testing import prompt, schedule

SIZE = 50
READ = [3, 4, 4]


def steering(how: Schedule) -> Steering:
    return Steering(Request(prompt("hi"), how, 7), how.at(0), READ, Vocabulary(None, SIZE, frozenset({2})))


def logits(seed: int) -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed)) * 3


def test_an_answer_of_a_shape_is_left_what_that_allows_whatever_the_values() -> None:
    tokenizer = build_tokenizer()
    size, shape, how = len(tokenizer), Shape(choices=("ab", "ac", "d")), schedule(temperature=0.0, top_k=1)
    shapes = Shapes(hf_tokenizer(tokenizer, size, {2}))
    vocabulary = Vocabulary(None, size, frozenset({2}))
    steers = Steering(Request(prompt("hi"), how, 7, shape=shape), how.at(0), READ, vocabulary, shapes.begin(shape))
    output, given = list[int](), torch.zeros(size)
    ids = dict(zip("abcd", tokenizer.convert_tokens_to_ids(list("abcd")), strict=True))
    given[ids["a"]], given[ids["c"]], given[2] = 1.0, 0.5, 9.0
    for wanted in "ac":
        left = steers(output, given.clone())
        assert left.isfinite().nonzero().flatten().tolist() == [ids[wanted]]
        assert steers.moved(len(output)) is None
        output.append(ids[wanted])
    assert steers(output, given.clone()).isfinite().nonzero().flatten().tolist() == [2]
    how = schedule(min_tokens=9)
    steers = Steering(Request(prompt("hi"), how, 7, shape=shape), how.at(0), READ, vocabulary, shapes.begin(shape))
    steers([], given.clone())
    steers([ids["d"]], given.clone())
    with pytest.raises(EngineError) as caught:
        steers.moved(1)
    assert str(caught.value) == (
        "sampling: bans leave nothing of what the answer's choices allows at generated token 1. Remove some bad_words, "
        "lower min_tokens, or change the choices."
    )


def test_each_token_is_left_what_its_own_values_leave() -> None:
    moving: dict[str, Any] = {
        "temperature": {"linear": {"from": 2.0, "to": 0.0, "over": 4}},
        "top_k": {"linear": {"from": 5, "to": 1, "over": 4}},
        "repetition_penalty": {"linear": {"from": 1.0, "to": 3.0, "over": 4}},
    }
    steers, output = steering(schedule(**moving, max_tokens=9)), list[int]()
    for index in range(5):
        given = logits(index)
        left = steers(output, given.clone())
        temperature, top_k, penalty = 2.0 - index / 2, 5 - index, 1.0 + index / 2
        wanted = given.clone()
        for token_id in {*READ, *output}:
            wanted[token_id] = wanted[token_id] / penalty if wanted[token_id] > 0 else wanted[token_id] * penalty
        wanted /= temperature or 1.0
        kept = wanted.topk(top_k).indices
        assert left.isfinite().nonzero().flatten().tolist() == sorted(kept.tolist())
        assert left.softmax(-1)[kept] == pytest.approx(wanted[kept].softmax(-1), abs=1e-6)
        assert steers.moved(index).values == {
            "temperature": temperature,
            "top_k": top_k,
            "repetition_penalty": penalty,
        }
        output.append(int(left.argmax()))
    with pytest.raises(EngineError) as caught:
        steers.moved(5)
    assert str(caught.value) == "vLLM drew generated token 5 without asking. Report this."


@pytest.mark.parametrize("breakers", [("b",), ()])
def test_what_comes_into_force_within_an_answer_is_understood_there(breakers: tuple[str, ...]) -> None:
    """A repetition that a breaker stands in is none, also where the penalty on it begins later than the answer."""
    tokenizer = build_tokenizer()
    size, (a, b) = len(tokenizer), tokenizer.convert_tokens_to_ids(["a", "b"])
    later: dict[str, Any] = {"piecewise": {"points": [[0, 0.0], [1, 2.0]], "between": "hold"}}
    how = schedule(
        dry_multiplier=later, dry_allowed_length=1, dry_sequence_breakers=breakers, temperature=1.0, max_tokens=9
    )
    steers = Steering(Request(prompt("hi"), how, 7), how.at(0), [], Vocabulary(tokenizer, size, frozenset({2})))
    output = list[int]()
    for token_id in (a, b, a, b, None):
        left = steers(output, torch.zeros(size))
        output += [] if token_id is None else [token_id]
    assert steers.moved(4).values == {"dry_multiplier": 2.0}
    assert (left[a] < 0, left[b] == 0) == (not breakers, True)


def test_of_a_prompt_in_pieces_the_last_one_counts(own_registry: None) -> None:
    """vLLM asks after each piece, and of an answer that it has put aside it reads the output once more, too."""
    heard: list[tuple[int, float | None, float | None, Any]] = []

    @registered("hearing", needs=("entropy", "surprise"))
    def hearing(now: Now) -> Steered:
        """Hears everything."""
        heard.append((now.token, now.entropy, now.surprise, now.state))
        return Steered(1.0 + now.token, [now.token])

    def entropy(of: Tensor) -> float:
        return float(torch.distributions.Categorical(logits=of.double()).entropy())

    how = Schedule(Sampling(max_tokens=9), {"temperature": Moving.of(hearing)})
    steers = deepcopy(steering(how))  # as vLLM does with what it is given
    heard.clear()
    asked = [((), 0), ((), 1), ((8,), 2), ((8,), 3), ((8, 9), 4)]
    left = [steers(list(output), logits(seed)) for output, seed in asked]
    surprises = [None, None, *[-float(left[1].log_softmax(-1)[8])] * 2, -float(left[3].log_softmax(-1)[9])]
    for place, (output, seed) in enumerate(asked):
        token, told_entropy, told_surprise, state = heard[place]
        assert (token, state) == (len(output), [token - 1] if token else None)
        assert told_entropy == pytest.approx(entropy(logits(seed)), rel=1e-5)
        assert told_surprise == (None if surprises[place] is None else pytest.approx(surprises[place], rel=1e-5))
    assert [steers.moved(index).signals["entropy"] for index in range(3)] == [heard[place][1] for place in (1, 3, 4)]


def test_what_fails_is_told_with_its_token_and_not_before() -> None:
    steers = steering(schedule(temperature={"linear": {"from": 1.0, "to": 0.5, "over": 4}}, max_tokens=9))
    steers([], logits(0))
    broken = torch.full((SIZE,), torch.nan)
    assert steers([5], broken) is not None
    assert steers.moved(0).values == {"temperature": 1.0}
    for output in ([5], [5, 6]):
        same = logits(1)
        assert steers(output, same) is same
        with pytest.raises(EngineError) as caught:
            steers.moved(len(output))
        assert str(caught.value).startswith("the model's logits are not finite at generated token 1.")
