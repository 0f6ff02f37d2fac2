"""Answers are held to shapes: whatever the model, whoever shares the batch, and not one token further."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from tests.engines.schemas import random_schema, sentence_tokenizer, wordy_model
from vllm_flow.core.errors import EngineError
from vllm_flow.core.resources import Engine
from vllm_flow.core.schema import schema_problems
from vllm_flow.core.schema_words import FORMATS
from vllm_flow.core.shape import Parsed, Shape, parsed
from vllm_flow.core.values import Completion, Request, Token
from vllm_flow.engines.instance import instance
from vllm_flow.engines.shaping import KEPT, Shapes, hf_tokenizer, spelled_tokenizer
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.transformers.sampler import choose
from vllm_flow.engines.transformers.shaped import shaped
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import prompt
from vllm_flow.testing.values import schedule

CAT = Shape.of_schema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 30},
            "kind": {"enum": ["cat", "dog"]},
        },
        "required": ["name", "age", "kind"],
    }
)
CHOICES = Shape(choices=("yes", "no", "no idea", "我不知道"))
DATE = Shape(regex="[0-9]{4}-[0-9]{2}-[0-9]{2}")
ENOUGH = 3000
"""Tokens: an answer of a random model that is longer has fallen into a text without a limit, and is drawn anew."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wordy_model(tmp_path_factory.mktemp("wordy"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    live = Transformers(Model("wordy", path=str(folder)), "cpu", "float32").open()
    yield live
    live.close()


def asked(shape: Shape | None, seed: int = 0, text: str = "Say it.", **sampling: Any) -> Request:
    return Request(prompt(text), schedule(**{"max_tokens": ENOUGH, **sampling}), seed, shape=shape)


def answers(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    """All at once."""

    async def together() -> list[Completion]:
        return await asyncio.gather(*(complete(engine, one) for one in requests))

    return asyncio.run(together())


def check(schema: dict[str, Any], answer: Completion) -> None:
    """That it is whole, valid by what wrote none of it, and not drawn out."""
    assert answer.finish_reason == "stop", (schema, answer.text[-200:])
    value = json.loads(answer.text)
    assert list(Draft202012Validator(schema).iter_errors(value)) == []
    assert answer.parsed == Parsed(value)
    between = re.sub(r'"(?:[^"\\]|\\.)*"', '""', answer.text)
    assert not re.search(r"[^\S ]|  |^ | $| [,:}\]]|[{\[] ", between), between


def held_to_random_schemas(
    engine: Engine, count: int, seed: int, recursive: bool = True, **sampling: Any
) -> Counter[str]:
    """Raises AssertionError for the first that is not valid. Returns which keywords were met how often."""
    random = Random(seed)
    schemas = [random_schema(random, recursive=recursive) for _ in range(count)]
    met: Counter[str] = Counter()
    for start in range(0, count, 32):
        some = schemas[start : start + 32]
        assert [schema_problems(one) for one in some] == [[]] * len(some)
        requests = [asked(Shape.of_schema(one), start + row, **sampling) for row, one in enumerate(some)]
        for schema, answer in zip(some, answers(engine, requests), strict=True):
            check(schema, answer)
            met.update(re.findall(r'"([$\w]+)":', json.dumps(schema)))
    return met


def test_a_model_with_random_weights_writes_what_is_valid_under_any_schema(engine: Engine) -> None:
    held_to_random_schemas(engine, 24, seed=1)


@pytest.mark.full
def test_300_random_schemas_are_kept_by_a_model_with_random_weights(engine: Engine) -> None:
    met = held_to_random_schemas(engine, 300, seed=7)
    words = "$ref anyOf enum const properties required items prefixItems minItems maxItems minLength maxLength pattern format"
    words += " minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"
    assert {word: met[word] for word in words.split() if met[word] < 5} == {}


@pytest.mark.full
def test_300_random_schemas_are_kept_by_a_trained_model(smollm2: Path) -> None:
    """But for those that hold themselves, which a small model goes on with until it may not any more."""
    live = Transformers(Model("smollm2", path=str(smollm2)), "cpu", "bfloat16").open()
    try:
        held_to_random_schemas(live, 300, seed=11, recursive=False, max_tokens=1500)
    finally:
        live.close()


@pytest.mark.parametrize(
    "how", [{"temperature": 0.0}, {"top_k": 3, "temperature": 2.0}, {"top_p": 0.1}, {"min_p": 0.9}]
)
def test_however_little_the_cuts_leave_it_is_of_what_the_shape_allows(engine: Engine, how: dict[str, Any]) -> None:
    for answer in answers(engine, [asked(one, seed, **how) for one in (CAT, CHOICES, DATE) for seed in range(3)]):
        assert answer.parsed is not None
        assert (answer.parsed.problem, answer.finish_reason) == (None, "stop")


def test_every_choice_is_drawn_and_no_other_text(engine: Engine) -> None:
    said = Counter(one.data for one in answers(engine, [asked(CHOICES, seed) for seed in range(64)]))
    assert said.keys() == set(CHOICES.choices or ())


def test_a_choice_that_begins_another_can_end_and_can_go_on(engine: Engine) -> None:
    said = Counter(
        one.text for one in answers(engine, [asked(Shape(choices=("no", "no idea")), seed) for seed in range(32)])
    )
    assert set(said) == {"no", "no idea"}


def test_a_key_that_is_given_twice_is_no_data() -> None:
    """Whatever its grammar lets an engine write."""
    shape = Shape(schema='{"type":"object"}')
    assert parsed(shape, '{"a":1,"a":2}', cut=False).problem == (
        "the answer does not fit its schema: '{\"a\":1,\"a\":2}': the key 'a' is given twice. Remove what ends it early, "
        "such as a stop text, or ask again."
    )


def test_rows_of_other_shapes_and_of_none_leave_each_other_alone(engine: Engine) -> None:
    shapes = [CAT, None, CHOICES, None, DATE, CAT]
    requests = [asked(one, seed, f"Row {seed}.", max_tokens=60) for seed, one in enumerate(shapes * 4)]
    together = answers(engine, requests)
    assert together == [answers(engine, [one])[0] for one in requests]
    free = [replace(one, shape=None) for one in requests if one.shape is None]
    assert [one for one in together if one.parsed is None] == answers(engine, free)


def test_an_answer_ends_with_the_token_that_completes_it(engine: Any) -> None:
    (answer,) = answers(engine, [asked(CAT, 5)])
    (exact,) = answers(engine, [asked(CAT, 5, max_tokens=len(answer.token_ids))])
    assert exact == answer
    assert answer.text.endswith("}")
    assert engine.decode(answer.token_ids[-1:]).endswith("}")
    (cut,) = answers(engine, [asked(CAT, 5, max_tokens=len(answer.token_ids) - 1)])
    assert (cut.finish_reason, cut.token_ids) == ("length", answer.token_ids[:-1])
    problem = (
        "the answer was cut off before its schema was complete. Raise sampling.max_tokens, or ask for a shorter one."
    )
    assert cut.parsed == Parsed(problem=problem)
    with pytest.raises(EngineError, match=re.escape(problem)):
        cut.data  # noqa: B018


def test_what_looks_whole_and_was_cut_off_is_no_data(engine: Engine) -> None:
    (answer,) = answers(engine, [asked(Shape.of_schema({"type": "integer", "minimum": 1000}), max_tokens=1)])
    assert answer.finish_reason == "length"
    assert answer.parsed is not None
    assert answer.parsed.value is None


def test_a_stop_text_may_still_end_an_answer_and_then_it_is_no_data(engine: Engine) -> None:
    (answer,) = answers(engine, [asked(CAT, stop=('"age"',))])
    assert answer.finish_reason == "stop"
    assert answer.parsed is not None
    assert re.fullmatch(
        r"the answer does not fit its schema: .*: not JSON, at character [0-9]+: Expecting property name .*\. Remove what ends it early, "
        "such as a stop text, or ask again.",
        answer.parsed.problem or "",
    )


def test_what_leaves_nothing_of_a_shape_fails_that_answer_alone(engine: Engine) -> None:
    banned = asked(CHOICES, bad_words=("yes", "y", "n", "no", "我"), min_tokens=9)

    async def both() -> list[Any]:
        work = [complete(engine, banned), complete(engine, asked(CHOICES))]
        return await asyncio.gather(*work, return_exceptions=True)

    failed, fine = asyncio.run(both())
    assert isinstance(failed, EngineError)
    assert re.fullmatch(
        r"sampling: bans leave nothing of what the answer's choices allows at generated token \d+\. Remove some "
        r"bad_words, lower min_tokens, or change the choices\.",
        str(failed),
    )
    assert fine.data in (CHOICES.choices or ())


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (
            Shape(regex="(?=a)b"),
            "the answer's regex: no answer can be held to it: look-around, including look-ahead and look-behind, is not supported. Write it without.",
        ),
        (
            Shape(schema='{"type":"integer","minimum":3,"maximum":2}'),
            "the answer's schema: no answer can be held to it: minimum (3) is greater than maximum (2). Change it.",
        ),
    ],
)
def test_a_shape_that_nobody_checked_is_refused_in_one_line(engine: Engine, shape: Shape, problem: str) -> None:
    with pytest.raises(EngineError) as caught:
        answers(engine, [asked(shape)])
    assert str(caught.value) == problem


def test_log_probabilities_are_the_models_own_whatever_the_shape(engine: Any) -> None:
    request = replace(asked(CAT, 3), logprobs=True, top_logprobs=2)
    (answer,) = answers(engine, [request])
    assert answers(engine, [asked(CAT, 3)])[0].token_ids == answer.token_ids
    scored = asyncio.run(engine.score(request.prompt, answer.token_ids))
    assert answer.logprobs == pytest.approx(scored.logprobs, abs=1e-4)
    # What could come in its place counts in what it was drawn from, and forced tokens had no other.
    assert answer.likelihoods is not None
    assert any(one.processed_logprob == 0 and one.processed_entropy == 0 for one in answer.likelihoods)


def test_schedules_and_penalties_apply_to_what_is_left(engine: Engine) -> None:
    how = {
        "temperature": 1.5,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.5,
        "dry_multiplier": 0.8,
        "xtc_probability": 0.5,
    }
    for answer in answers(engine, [asked(CAT, seed, **how) for seed in range(8)]):
        assert answer.data["kind"] in ("cat", "dog")


def test_tokens_stream_as_they_come(engine: Engine) -> None:
    async def streamed() -> list[Token]:
        return [one async for one in engine.generate(asked(CAT, 5))]

    tokens = asyncio.run(streamed())
    (whole,) = answers(engine, [asked(CAT, 5)])
    assert "".join(one.text for one in tokens) == whole.text
    assert sum(1 for one in tokens if one.text) > 4


def test_what_is_not_allowed_is_left_out_before_temperature_and_cuts(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    shapes = Shapes(hf_tokenizer(tokenizer, len(tokenizer), {tokenizer.eos_token_id}))
    row = shapes.begin(Shape(choices=("a", "b")))
    row.look()
    logits = torch.randn(2, len(tokenizer), generator=torch.Generator().manual_seed(0))
    left = shaped(logits, [row, None])
    allowed = {tokenizer.convert_tokens_to_ids(one) for one in "ab"}
    assert set(left[0].isfinite().nonzero().flatten().tolist()) == allowed
    assert torch.equal(left[1], logits[1])
    assert shaped(logits, [None, None]) is logits
    greedy = schedule(temperature=0.0).at(0)
    assert choose(left[:1], [greedy], [0], [0]).item() == max(allowed, key=lambda one: float(logits[0, one]))


def test_tokens_of_which_a_model_has_no_logit_are_never_drawn(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = len(tokenizer) - 500
    row = Shapes(hf_tokenizer(tokenizer, size, {tokenizer.eos_token_id})).begin(Shape(regex="[a-z]+"))
    row.look()
    assert any(row.allows(one) for one in range(size, len(tokenizer)))
    left = shaped(torch.zeros(1, size), [row])
    assert left.shape == (1, size)
    assert left.isfinite()[0].tolist() == [row.allows(one) for one in range(size)]


def test_the_end_is_allowed_when_the_shape_is_complete_and_never_before(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    end = tokenizer.eos_token_id
    row = Shapes(hf_tokenizer(tokenizer, len(tokenizer), {end})).begin(Shape(regex="a{2,3}"))
    told = []
    for _ in range(3):
        row.look()
        told.append((row.allows(end), row.over))
        row.take(tokenizer.convert_tokens_to_ids("a"))
    assert told == [(False, False), (False, False), (True, False)]
    assert row.over


def test_whatever_is_allowed_of_tokens_with_spaces_in_them_and_of_single_bytes_is_of_the_shape() -> None:
    tokenizer, random = sentence_tokenizer(), Random(2)
    end = tokenizer.eos_token_id
    shapes = Shapes(hf_tokenizer(tokenizer, len(tokenizer), {end}))
    for shape in [
        *(Shape.of_schema(random_schema(random)) for _ in range(12)),
        CHOICES,
        Shape(regex="[a-z]+ [0-9]{2,3}é?"),
    ]:
        row, ids = shapes.begin(shape), [-1]
        while ids[-1] != end and not row.over:
            row.look()
            ids.append(random.choice([one for one in range(len(tokenizer)) if row.allows(one)]))
            row.take(ids[-1])
        assert parsed(shape, tokenizer.decode(ids[1:], skip_special_tokens=True), cut=False).problem is None


@pytest.mark.parametrize("normalises", [False, True])
def test_what_alone_can_come_is_allowed_though_a_tokenizer_begins_texts_with_a_space(normalises: bool) -> None:
    tokens = [*(bytes([one]) for one in range(256)), b"<end>", b" {", b'{"', b"name", b" name", b'":']

    def encode(text: bytes) -> list[int]:
        left, ids = b" " + (text.upper() if normalises else text), list[int]()
        while left:
            longest = max((one for one in tokens if left.startswith(one)), key=len)
            ids.append(tokens.index(longest))
            left = left[len(longest) :]
        return ids

    shape = Shape.of_schema({"type": "object", "properties": {"name": {"const": "é"}}, "required": ["name"]})
    row, said = Shapes(lambda: spelled_tokenizer(tokens, [256], [256], encode)).begin(shape), list[bytes]()
    while not row.over:
        row.look()
        (*_, newest) = (one for one in range(len(tokens)) if row.allows(one))
        row.take(newest)
        said.append(tokens[newest])
    assert b"".join(said).decode() == '{"name":"é"}'
    assert (b"name" in said) is not normalises


def test_a_model_of_which_no_bytes_or_no_end_are_known_is_told_so() -> None:
    with pytest.raises(
        EngineError, match="the model has no fast tokenizer, so it is not known which bytes its tokens are: no answer"
    ):
        Shapes(hf_tokenizer(object(), 9, {1})).begin(DATE)
    with pytest.raises(
        EngineError, match="the model has no token that ends an answer: no answer of it can be held to a shape"
    ):
        Shapes(hf_tokenizer(type("Fast", (), {"backend_tokenizer": 1}), 9, ())).begin(DATE)


def test_examples_are_short_and_valid_and_always_the_same() -> None:
    assert instance(CAT) == '{"name":"","age":1,"kind":"cat"}'
    assert instance(CHOICES) == "yes"
    assert instance(DATE) == "1111-11-11"
    assert instance(Shape(regex=".*hello")) == ".*hello"
    assert instance(Shape.of_schema({"type": "string", "pattern": '^"[0-9a-z]$'})) == '"\\"a"'
    with pytest.raises(EngineError) as caught:
        instance(Shape(regex="[^a-z]*(a[^a]*){9}~{9}"))
    assert (
        str(caught.value) == "no example of the answer's regex was found. Write a simpler one, or say one as the user."
    )


@pytest.mark.parametrize("form", FORMATS)
def test_texts_of_every_form_have_examples(form: str) -> None:
    said = instance(Shape.of_schema({"type": "string", "format": form}))
    assert re.fullmatch(r'"[ -~]+"', said)


def test_more_shapes_than_are_kept_have_examples() -> None:
    ends = [str(number) for number in range(KEPT + 2)]
    assert [instance(Shape(regex=f"kept {end}")) for end in ends] == [f"kept {end}" for end in ends]


def test_random_schemas_have_examples() -> None:
    random = Random(3)
    for schema in [random_schema(random) for _ in range(40)]:
        assert list(Draft202012Validator(schema).iter_errors(json.loads(instance(Shape.of_schema(schema))))) == []
