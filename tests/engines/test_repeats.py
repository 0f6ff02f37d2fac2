from __future__ import annotations

import random
import time

from vllm_flow.engines.transformers.repeats import common_prefixes, repeats

from .reference import repetition


def test_it_agrees_with_the_definition_for_any_tokens_and_breakers():
    rng = random.Random(0)
    for _ in range(1500):
        tokens = rng.choices(range(rng.randint(1, 4)), k=rng.randint(0, 14))
        breakers = set(rng.sample(range(4), rng.choice([0, 0, 1, 2])))
        wanted = {token: length for token in range(4) if (length := repetition(tokens, token, breakers))}
        assert repeats(tokens, breakers) == wanted, (tokens, breakers)


def test_common_prefixes_are_those_of_the_definition():
    rng = random.Random(1)
    for _ in range(500):
        tokens = rng.choices("ab", k=rng.randint(0, 12))
        lengths = common_prefixes(tokens)  # type: ignore[arg-type]
        for place, length in enumerate(lengths):
            assert tokens[:length] == tokens[place : place + length]
            assert place + length == len(tokens) or tokens[length] != tokens[place + length] or place == 0


def test_a_repetition_as_long_as_the_text_takes_time_in_proportion_to_it():
    tokens = [7] * 100_000
    started = time.perf_counter()
    assert repeats(tokens, ()) == {7: 99_999}
    assert time.perf_counter() - started < 5  # comparing each with each would take minutes
