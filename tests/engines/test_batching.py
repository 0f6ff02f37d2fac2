"""Many answers in one loop: each is what it would be alone, what begins alike is read once, and nothing leaks."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests import tiny
from vllm_flow.core.errors import ContextOverflow, EngineError, ModelError
from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request, Token, assistant, user
from vllm_flow.engines.transformers import drawing
from vllm_flow.engines.transformers.fitting import fitted, least_tokens
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.network import Network, Span
from vllm_flow.engines.transformers.prefix import PrefixCache
from vllm_flow.engines.transformers.row import Job
from vllm_flow.models.spec import Architecture, Model

SHAPE = Architecture(32, 2, 4, kv_heads=2, max_context=600)
LONG = "The sea was calm that morning, and nobody on the quay would have thought of a storm. " * 2
"""Longer than two pieces of a prompt."""


WEIGHTS = [("float32", None), ("bfloat16", None), *((d, q) for d in ("float32", "bfloat16") for q in ("int4", "int8"))]


@pytest.fixture(scope="module", params=[pytest.param(one, marks=[pytest.mark.full] * bool(one[1])) for one in WEIGHTS])
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    dtype, kind = request.param
    found = load(Model("random", architecture=SHAPE), "cpu", dtype, None, kind)
    yield found
    found.network.close()


def job(text: str, seed: int = 0, tokens: int = 6, **sampling: Any) -> Job:
    how = Schedule(Sampling(**{"top_p": 0.9, "max_tokens": tokens, **sampling}))
    return Job(Request(Prompt((user(text),)), how, seed=seed), loop=None)  # type: ignore[arg-type]  # nobody waits


def run(loop: Loop, jobs: list[Job], every: int = 0) -> dict[Job, list[Token]]:
    """What the jobs are given. They come all at once, or one at each `every` steps."""
    waiting, found = list(jobs), {one: [] for one in jobs}
    step = 0
    while waiting or not loop.idle:
        if waiting and (not every or step % every == 0):
            for one in waiting if not every else waiting[:1]:
                loop.add(one)
            waiting = [] if not every else waiting[1:]
        for one, item in loop.step():
            if isinstance(item, Exception):
                raise item
            found[one].append(item)
        step += 1
    return found


def ids(tokens: list[Token]) -> list[int]:
    return [token.id for token in tokens]


def test_a_prompt_is_read_again_only_from_where_it_differs(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits())

    def cached(text: str) -> tuple[int, int]:
        (tokens,) = run(loop, [job(text)]).values()
        finish = tokens[-1].finish
        assert finish
        return finish.cached_tokens, finish.usage.prompt_tokens

    assert cached(LONG)[0] == 0
    read, whole = cached(LONG)
    assert read == whole  # an equal prompt is not read again at all
    assert cached(LONG[:100] + "?")[0] == 64
    assert cached("?" + LONG)[0] == 0


def test_what_one_tenant_has_asked_serves_no_other(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits())

    def cached(tenant: str) -> tuple[int, int | None]:
        asked = job(LONG)
        asked.request = dataclasses.replace(asked.request, tenant=tenant)
        finish = run(loop, [asked])[asked][-1].finish
        assert finish
        return finish.cached_tokens, finish.reuse_stopped_at

    whole = len(loaded.renderer.ids(Prompt((user(LONG),))))
    assert [cached("ann"), cached("ben"), cached("")] == [(0, 0)] * 3
    assert [cached("ann"), cached("ben"), cached("")] == [(whole, None)] * 3
    both = [dataclasses.replace(job(LONG + "!").request, tenant=one) for one in ("ann", "cid")]
    jobs = [Job(one, loop=None) for one in both]  # type: ignore[arg-type]
    found = run(loop, jobs)  # side by side too
    assert [found[one][-1].finish.cached_tokens for one in jobs] == [128, 0]


def test_a_tenant_of_whom_nothing_is_remembered_leaves_nothing() -> None:
    cache = PrefixCache(limit=100)
    for number in range(9):
        cache.add(cache.root(f"tenant {number}"), (1,), [torch.zeros(1, 1, 1, 20)], None)
    assert (cache.bytes, len(cache._roots)) == (80, 1)


def stopped(loop: Loop, prompt: Prompt) -> tuple[int, int | None, int]:
    """Of a prompt: how much was cached, where reuse stopped, and how long it is."""
    asked = Job(Request(prompt, Schedule(Sampling(max_tokens=1))), loop=None)  # type: ignore[arg-type]
    finish = run(loop, [asked])[asked][-1].finish
    assert finish
    return finish.cached_tokens, finish.reuse_stopped_at, finish.usage.prompt_tokens


def test_where_reuse_stops_is_told_to_the_token(loaded: Loaded) -> None:
    """A token is a byte here, and six stand before the first message's text."""
    loop = Loop(loaded, Limits())

    def of(text: str) -> tuple[int, int | None, int]:
        return stopped(loop, Prompt((user(text),)))

    whole = len(LONG) + 6 + 13
    assert of(LONG) == (0, 0, whole)
    assert of(LONG) == (whole, None, whole)
    assert of(f"{LONG[:100]}?")[:2] == (64, 106)
    assert of(f"{LONG[:30]}?")[:2] == (0, 36)
    assert of(f"{LONG[:100]}!")[:2] == (64, 106)
    assert of("?")[:2] == (0, 6)
    assert stopped(loop, Prompt((user(LONG), assistant("No."), user("Why?"))))[:2] == (128, whole)


STRIPPING = (
    "{% for one in messages %}<|im_start|>{{ one['role'] }}\n"
    "{{ one['content'] if loop.index >= loop.length - 1 else one['content'].split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
"""Leaves the reasoning out of all answers but the last, as templates of reasoning models do."""


def test_a_template_that_rewrites_history_is_seen_in_where_reuse_stops() -> None:
    loaded = load(Model("random", architecture=SHAPE), "cpu", "float32")
    loop, answer = Loop(loaded, Limits()), assistant("<think>Well, it may be so.</think>It is so.")
    said = (user(LONG[:80]), answer, user("Why?"), answer, user("Indeed?"))
    for template, rewritten in ((loaded.renderer._tokenizer.chat_template, False), (STRIPPING, True)):
        loaded.renderer._tokenizer.chat_template = template
        loop = Loop(loaded, Limits())
        before = stopped(loop, Prompt(said[:3]))[2]
        cached, stop, _ = stopped(loop, Prompt(said))
        assert stop is not None
        assert cached <= stop
        assert stop == (6 + 80 + 2 + 11 if rewritten else before)
    loaded.network.close()


def test_the_history_of_a_conversation_is_not_read_again(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits())
    run(loop, [job(LONG)])
    history = (user(LONG), assistant("No."), user("And then?"))
    asked = Job(Request(Prompt(history), Schedule(Sampling(max_tokens=2))), loop=None)  # type: ignore[arg-type]
    finish = run(loop, [asked])[asked][-1].finish
    assert finish is not None
    assert finish.cached_tokens == 128


def test_one_prompt_of_many_answers_is_read_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = type(loaded.network).read

    def counting(self: Any, spans: list[Span]) -> torch.Tensor:
        read.extend(len(span.tokens) for span in spans)
        return real(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", counting)
    prompt = len(loaded.renderer.ids(Prompt((user(LONG),))))
    answers = run(Loop(loaded, Limits()), [job(LONG, seed, tokens=4, stop=()) for seed in range(16)])
    decoded = sum(len(tokens) - 1 for tokens in answers.values())
    assert sum(read) == prompt + decoded
    assert len({tuple(ids(tokens)) for tokens in answers.values()}) > 8


def test_rows_come_and_go_and_each_answer_is_its_own(loaded: Loaded) -> None:
    rng = random.Random(4)
    jobs = [job(f"{rng.random()} " * rng.randint(1, 6), seed, tokens=rng.randint(1, 16)) for seed in range(24)]
    loop = Loop(loaded, Limits(rows=9, prompt_tokens=100, kv_bytes=900 * loaded.network.bytes_per_token))
    together = run(loop, jobs, every=2)
    for one in jobs[::5]:
        (alone,) = run(Loop(loaded, Limits()), [dataclasses.replace(one)]).values()
        assert [dataclasses.replace(token, finish=None) for token in together[one]] == [
            dataclasses.replace(token, finish=None) for token in alone
        ]
    assert isinstance(loaded.network, Network)
    assert loaded.network.kv.held == []


def test_cancelled_answers_leave_within_a_step_and_leave_nothing(loaded: Loaded) -> None:
    rng = random.Random(6)
    loop = Loop(loaded, Limits(rows=8))
    jobs = [job(f"question {seed}", seed, tokens=40) for seed in range(30)]
    for one in jobs:
        loop.add(one)
    told: dict[Job, int] = dict.fromkeys(jobs, 0)
    while not loop.idle:
        gone = {one for one in jobs if one.cancelled}
        for one, item in loop.step():
            assert one not in gone
            assert isinstance(item, Token)
            told[one] += 1
        for one in rng.sample(jobs, 2):
            one.cancelled = True
    assert isinstance(loaded.network, Network)
    assert loaded.network.kv.held == []
    assert all(one.cancelled or count == 40 for one, count in told.items())
    assert sum(told.values()) > 40


def test_a_row_that_makes_the_model_fail_fails_alone(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    (forbidden,) = loaded.renderer._tokenizer.encode("Z")
    real = type(loaded.network).read

    def failing(self: Any, spans: list[Span]) -> torch.Tensor:
        if any(forbidden in span.tokens for span in spans):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return real(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", failing)
    loop = Loop(loaded, Limits())
    good, bad = [job(f"question {seed}", seed, temperature=0) for seed in range(5)], job("Z", 9)
    for one in (*good[:3], bad, *good[3:]):
        loop.add(one)
    found: dict[Job, list[Any]] = {one: [] for one in (*good, bad)}
    while not loop.idle:
        for one, item in loop.step():
            found[one].append(item)
    (error,) = found[bad]
    assert isinstance(error, EngineError)
    assert str(error) == (
        "out of memory: DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. "
        "Choose a smaller model, a shorter context, or a smaller dtype."
    )
    monkeypatch.undo()
    for one in good:
        (alone,) = run(Loop(loaded, Limits()), [dataclasses.replace(one)]).values()
        assert ids(found[one]) == ids(alone)


def test_when_a_whole_step_fails_nobody_is_left_waiting(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor those that were done with in the same step, before it failed."""

    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("no sampler")

    monkeypatch.setattr(drawing, "choose", broken)
    loop = Loop(loaded, Limits())
    too_long, fine = job("hi", tokens=10_000), job("hi")
    loop.add(too_long)
    loop.add(fine)
    with pytest.raises(RuntimeError, match="no sampler"):
        loop.step()
    told = {one: type(item) for one, item in loop.fail_all("the engine failed. Report this.")}
    assert told == {too_long: ContextOverflow, fine: EngineError}
    assert loop.idle
    assert loop.fail_all("again") == []


def test_a_schedule_that_raises_fails_its_answer_alone(loaded: Loaded) -> None:
    @dataclass(frozen=True)
    class Broken:
        """Fails at the third token."""

        per_token = True
        needs = ()

        def at(self, now: Now) -> float:
            return {0: 1.0, 1: 1.0}[now.token]

    loop = Loop(loaded, Limits())
    good = job("question", 1)
    bad = Job(
        Request(Prompt((user("hi"),)), Schedule(Sampling(max_tokens=6), {"temperature": Moving("broken", Broken())})),
        loop=None,
    )  # type: ignore[arg-type]
    for one in (bad, good):
        loop.add(one)
    found: dict[Job, list[Any]] = {good: [], bad: []}
    while not loop.idle:
        for one, item in loop.step():
            found[one].append(item)
    assert [type(item) for item in found[bad]] == [Token, Token, EngineError]
    assert str(found[bad][-1]) == ("sampling.temperature: the schedule 'broken' fails at token 2: KeyError: 2")
    assert found[good][-1].finish is not None


def test_what_does_not_fit_beside_the_others_waits_and_is_served(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits(kv_bytes=1))
    found = run(loop, [job(f"question {seed}", seed, tokens=3) for seed in range(4)])
    assert [len(tokens) for tokens in found.values()] == [3] * 4


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_family_that_batches_is_bitwise_the_same_in_company(family: str) -> None:
    fit = fitted(tiny.build(family))
    assert fit.why_plain == ""
    assert len(fit.packed) > 0
    assert isinstance(fit.network, Network)
    assert least_tokens(fit.network) == 4
    fit.network.close()


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("Bloom", "its attention is its own"),
        ("Mamba", "AttributeError: 'PackedLinear' object has no attribute 'weight'"),
    ],
)
def test_a_family_that_does_not_batch_says_why_and_keeps_its_own_layers(family: str, why: str) -> None:
    model = tiny.build(family)
    before = [type(module) for module in model.modules()]
    assert fitted(model).why_plain == why
    assert [type(module) for module in model.modules()] == before


def test_a_model_that_would_forget_what_it_has_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As models did whose cache had another name: their answers were wrong, and nothing said so."""
    monkeypatch.setattr("vllm_flow.engines.transformers.plain.CACHES", ("unheard_of",))
    with pytest.raises(ModelError) as caught:
        fitted(tiny.build("Mamba"))
    assert str(caught.value) == (
        "model: MambaForCausalLM does not go on from a cache of transformers' usual kind. Choose another model, or "
        "another version of transformers."
    )


def test_positions_that_depend_on_the_company_are_not_batched() -> None:
    model = tiny.build("Llama")
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    assert fitted(model).why_plain == ("its positions are of the kind 'dynamic', which depend on the longest sequence")


def test_attention_that_does_more_than_it_says_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_flow.engines.transformers import attention

    real = attention._biased
    monkeypatch.setattr(attention, "_biased", lambda *given: real(*given) * 1.05)
    assert fitted(tiny.build("Qwen2")).why_plain == "its attention does more than its interface says"


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_llama_and_its_kin_take_the_lean_way_with_their_own_logits(family: str) -> None:
    model = tiny.build(family)
    ids = torch.arange(40, 60)
    with torch.inference_mode():
        wanted = model(ids[None]).logits[0, -1]
        network = fitted(model).network
        assert isinstance(network, Network)
        assert (network.lean is not None) == (family in {"Llama", "Qwen2", "Qwen3", "Mistral"})
        found = network.read([Span(network.sequence(20), ids.tolist())])[0]
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().amax()))


def test_a_lean_way_that_gives_other_logits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_flow.engines.transformers import lean

    monkeypatch.setattr(lean, "silu", lambda rows: rows)
    monkeypatch.setattr(lean, "PackedLinear", type(None))
    fit = fitted(tiny.build("Qwen2"))
    assert isinstance(fit.network, Network)
    assert fit.network.lean is None
