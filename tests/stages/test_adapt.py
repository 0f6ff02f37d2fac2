"""What a conversation teaches: kept with its turns, used where the graph says so, taken back with them, and refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from vllm_flow import Session
from vllm_flow.core import plugins
from vllm_flow.core.adapting import Adapted, Tuning
from vllm_flow.core.errors import ConfigError, EngineError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.moving import Moving
from vllm_flow.core.option_checks import own_problems, problems
from vllm_flow.core.options import build
from vllm_flow.core.values import Prompt, Turn
from vllm_flow.engines.echo import Echo
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.schedules import Feedback
from vllm_flow.stages import Chat, Compared, Continued, FromSampling, Full, Generate, Given, Learned, Lora, Update
from vllm_flow.stores import Memory, Sqlite
from vllm_flow.testing import EchoEngine, context

plugins.load_built_in()
RANDOM = Model("random", architecture=Architecture(64, 2, 4, kv_heads=2, max_context=1024))
LORA = Lora(rank=4, learning_rate=0.01, passes=3, step_tokens=64)
TALK: dict[str, Any] = {
    "context": Full(),
    "adapter": LORA,
    "prompt": Chat(),
    "schedule": FromSampling(),
    "reply": Generate(logprobs=True),
    "remember": Update(),
}
TEXTS = ("Snails sail in paper boats.", "The moon pays them in salt.", "Who pays the snails?")


def session(graph: dict[str, Any], output: str = "reply", **own: Any) -> Session:
    engine = own.pop("engine", Transformers(RANDOM, device="cpu"))
    resources = {"engine": engine, "store": own.pop("store", Memory())}
    how = {"sampling": {"max_tokens": 8, "min_tokens": 8, "temperature": 0.8}, "record": False, **own}
    return vllm_flow.build(graph, output, resources=resources, **how)


def refused(graph: dict[str, Any], **own: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        session(graph, **own).open()
    return str(caught.value)


def learned_json(talk: Session, conversation: str) -> dict[str, Any]:
    folder = talk.opened("engine")._loaded.learner.adapters._folder
    found: dict[str, Any] = json.loads((folder / str(version(talk, conversation)) / "learned.json").read_text("utf-8"))
    return found


def ran(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def version(talk: Session, conversation: str) -> str | None:
    found = Adapted.of(talk.opened("store").state(conversation))
    return None if found is None else found.version


@pytest.fixture(scope="module")
def talk() -> Iterator[Session]:
    with session(TALK) as one:
        yield one


def test_each_turn_goes_on_from_what_the_one_before_had_learned(talk: Session) -> None:
    versions, values = [], []
    for text in TEXTS:
        values.append(talk.run(text, conversation="on"))
        versions.append(version(talk, "on"))
    assert len({*versions}) == 3
    folder = Path(talk.opened("engine")._loaded.learner.adapters._folder)
    after = [json.loads((folder / str(one) / "learned.json").read_text("utf-8"))["after"] for one in versions]
    assert after == [None, *versions[:2]]
    with session({**TALK, "adapter": Learned()}) as plain:  # the same without learning
        others = [plain.run(text, conversation="on") for text in TEXTS]
    assert [one.value.logprobs for one in values] != [one.value.logprobs for one in others]


def test_a_turn_that_is_taken_back_takes_back_what_was_learned_in_it(talk: Session) -> None:
    first = talk.run(TEXTS[0], conversation="back")
    kept = version(talk, "back")
    second = talk.run(TEXTS[1], conversation="back")
    learned = version(talk, "back")
    assert talk.opened("store").undo("back").text == TEXTS[1]
    assert version(talk, "back") == kept
    again = talk.run(TEXTS[1], conversation="back")
    assert (again.value, version(talk, "back")) == (second.value, learned)
    talk.opened("store").undo("back")
    talk.opened("store").undo("back")
    assert version(talk, "back") is None
    assert talk.run(TEXTS[0], conversation="back").value == first.value


def test_another_conversation_does_not_notice() -> None:
    turns = [Turn(f"other {place}", user(f"{place}: and now?")) for place in range(4)]
    with session({**TALK, "adapter": Learned()}) as plain:
        alone = [one.value for one in plain.run(turns)]
    with session({**TALK, "adapter": replace(LORA, loss="answers", passes=20)}) as mixed:
        mixed.run(TEXTS[0], conversation="liked")
        found = mixed.run([Turn("liked", user("Go on."), feedback=1.0), *turns])
        assert version(mixed, "liked") is not None
        assert [version(mixed, one.conversation) for one in turns] == [None] * 4
    assert [one.value for one in found[1:]] == alone  # token ids and log-probabilities


def test_only_an_answer_that_was_liked_is_learned_and_its_prompt_is_not() -> None:
    with session(
        {**TALK, "adapter": Lora(rank=4, learning_rate=0.01, loss="answers", step_tokens=500)}, store=Memory()
    ) as one:
        first = one.run("What do snails do?", conversation="a").value
        assert version(one, "a") is None
        one.run([Turn("a", user("Hm."), feedback=-1.0)])
        assert version(one, "a") is None
        second = one.opened("store").turns("a")[-1].reply
        one.run([Turn("a", user("Nice."), feedback=0.5)])
        learned = version(one, "a")
        assert learned is not None
        engine = one.opened("engine")
        said = json.loads((engine._loaded.learner.adapters._folder / learned / "learned.json").read_text("utf-8"))
        asked = Prompt((user("What do snails do?"), assistant(first.text), user("Hm.")))
        scored = one.score(second.text, asked)
    assert said["after"] is None
    assert said["adapted"]["tokens"] == len(scored.token_ids)
    assert said["adapted"]["losses"] == [pytest.approx(-scored.logprob / len(scored.token_ids), rel=1e-3)]


def test_what_is_learned_is_used_only_where_it_is_wired() -> None:
    graph = {
        "context": Full(),
        "before": Learned(),
        "plain": Given(),
        "longer": Continued(),
        "adapted": vllm_flow.node(Given(), adapter="before"),
        "learned": LORA,
        "reply": vllm_flow.node(Compared(), static="plain"),
        "remember": vllm_flow.node(Update(), adapter="learned"),
    }
    with session(graph) as reader:
        first, second = (reader.run(TEXTS[0], conversation="x").text for _ in range(2))
        state = version(reader, "x")
        alone = reader.score(TEXTS[0]).perplexity
        longer = reader.score(TEXTS[0], Prompt((user(TEXTS[0]),), plain=True)).perplexity
        engine = reader.opened("engine")
        assert state is not None
    tokens = len(TEXTS[0].encode())
    assert (
        first == f"perplexity over {tokens} tokens: static {alone:.4g}, longer context {alone:.4g}, adapted {alone:.4g}"
    )
    start = f"perplexity over {tokens} tokens: static {alone:.4g}, longer context {longer:.4g}, adapted "
    assert second.startswith(start)
    assert float(second.removeprefix(start)) < 0.9 * alone
    assert engine.describe()["engine"] == "transformers"


def test_a_text_that_was_made_can_be_learned_and_nothing_is_learned_of_nothing() -> None:
    wired = {**TALK, "adapter": Learned(), "document": vllm_flow.node(Generate(), adapter="adapter"), "learned": LORA}
    wired["remember"] = vllm_flow.node(Update(), adapter="learned")
    with session(wired) as one:
        one.run(TEXTS[0], conversation="x")
        folder = one.opened("engine")._loaded.learner.adapters._folder
        said = json.loads((folder / str(version(one, "x")) / "learned.json").read_text("utf-8"))
        document = one.opened("store").turns("x")[0].reply
        scored = one.score(document.text)
    assert said["adapted"]["tokens"] == len(scored.token_ids)
    with session(TALK) as two:
        two.run([Turn("x", user("  "))])
        assert version(two, "x") is None


def test_a_conversation_goes_on_after_a_restart_where_its_adapters_have_a_folder(tmp_path: Path) -> None:
    store, kept = (
        Sqlite(str(tmp_path / "talk.sqlite")),
        Transformers(RANDOM, device="cpu", adapters=str(tmp_path / "kept")),
    )
    with session(TALK, store=Memory(), engine=kept) as once:
        wanted = [once.run(text, conversation="x").value for text in TEXTS]
    found = []
    for text in TEXTS:
        with session(TALK, store=store, engine=kept) as one:
            found.append(one.run(text, conversation="x").value)
    assert found == wanted
    with session(TALK, store=store) as lost:
        said = lost.run(["Still there?"], conversation="x")[0].failure
        assert said is not None
        assert said.message.startswith("graph.adapter (adapt/lora): the adapter ")
        assert said.message.endswith("Now take turns back, or begin another conversation.")


def test_a_learning_rate_may_follow_what_was_liked_from_turn_to_turn() -> None:
    moving = Moving.of(Feedback(start=0.01, gain=0.004, low=0.001, high=0.02))
    graph = {**TALK, "adapter": replace(LORA, learning_rate=moving)}
    with session(graph) as one:
        rates = []
        for text, feedback in zip(TEXTS, (None, 1.0, -0.5), strict=True):
            one.run([Turn("x", user(text), feedback=feedback)])
            rates.append(learned_json(one, "x")["adapted"]["learning_rates"])
    assert rates == [[0.01] * 3, pytest.approx([0.014] * 3), pytest.approx([0.012] * 3)]


def test_an_answer_that_a_score_liked_is_learned(tmp_path: Path) -> None:
    said: dict[str, Any] = {"sampling": {"feedback": 0.5}}
    asked = context("How are you?", "Well enough.", state=said)
    never = {"turn": Turn("x", user("And now?"), feedback=-1.0), "engine": EchoEngine()}
    lora = Lora(loss="answers")
    assert ran(lora.run(context=asked, **never)) is None  # the turn knows better
    with pytest.raises(EngineError) as caught:
        ran(lora.run(Turn("x", user("And now?")), asked, EchoEngine()))
    assert str(caught.value) == (
        "the engine 'echo' learns nothing while it runs. Choose another, such as engine=transformers."
    )


def test_the_record_says_what_was_learned_and_with_what_was_answered(tmp_path: Path) -> None:
    with session(TALK, record=str(tmp_path / "run")) as one:
        one.run(TEXTS[0], conversation="x")
        learned = version(one, "x")
    (row,) = (json.loads(line) for line in (tmp_path / "run" / "calls.jsonl").read_text("utf-8").splitlines())
    adapt, generate = row["calls"]
    assert (adapt["node"], adapt["method"], adapt["value"]["version"]) == ("adapter", "adapt", learned)
    assert adapt["value"]["learning_rates"] == [0.01] * 3
    assert len(adapt["value"]["losses"]) == 3
    assert (generate["node"], generate["adapter"]) == ("reply", learned)


def test_an_engine_that_does_not_adapt_is_refused_before_anything_runs() -> None:
    said = "learns nothing while it runs. Choose another, such as engine=transformers."
    words = f"graph.adapter: the engine, as it is configured, {said}"
    assert refused(TALK, engine=Echo(), sampling={}) == words
    assert refused(TALK, engine=Transformers(RANDOM, compile=True)) == words


def test_what_ends_before_the_conversations_that_need_it_is_advised_against(tmp_path: Path) -> None:
    store, kept = Sqlite(str(tmp_path / "talk.sqlite")), str(tmp_path / "kept")
    words = (
        "conversations outlive this run in their store, but not what they learn, and cannot go on without it. Set "
        "resources.engine.adapters=FOLDER, or choose store=memory."
    )
    for where, chosen, wanted in (
        (None, store, [((), words)]),
        (kept, store, []),
        (None, Memory(), []),
        (None, None, []),
    ):
        assert list(LORA.advise(Transformers(RANDOM, adapters=where), chosen)) == wanted
    resources = {"engine": Transformers(RANDOM, device="cpu"), "store": store}
    with vllm_flow.build(TALK, "reply", resources=resources, record=False) as one:
        assert [str(fault) for fault in one.pipeline.advice] == [f"graph.adapter: {words}"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"learning_rate": -0.1}, "'constant' comes to -0.1. A learning rate is 0 or more."),
        ({"learning_rate": {"edt": {"t0": 0.1, "theta": 1.0}}}, "'edt' follows entropy, which is there only where tokens are drawn. Choose another."),
        ({"learning_rate": {"target_length": {"tokens": 9}}}, "'target_length' steers end_bias, and nothing else. Choose another."),
        ({"learning_rate": {"linear": {"from": 1, "to": -1, "over": 3}}}, "'linear' comes to -1. A learning rate is 0 or more."),
    ],
)  # fmt: skip
def test_a_learning_rate_that_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    assert problems(Lora, given) == []
    assert list(own_problems(build(Lora, given))) == [(("learning_rate",), words)]


def test_options_out_of_range_are_refused() -> None:
    said = {one.path: one.problem for one in problems(Lora, {"rank": 0, "optimiser": "lion", "passes": 0, "loss": "x"})}
    assert said == {
        ("rank",): "0 does not fit. It takes an integer of 1 or more.",
        ("optimiser",): "'lion' does not fit. It takes one of: adamw, adam, sgd, rmsprop, adagrad.",
        ("passes",): "0 does not fit. It takes an integer of 1 or more.",
        ("loss",): "'x' does not fit. It takes one of: document, answers.",
    }
    assert problems(Lora, {"learning_rate": {"cosin": {}}})[0].path == ("learning_rate", "cosin")
    assert build(Lora, {"learning_rate": 1}).moving == Moving.of(1)
    assert Tuning().moving.name == "constant"


def test_what_an_adapter_says_of_itself() -> None:
    assert Adapted("0123456789").text == "adapter 01234567, nothing new"
    assert Adapted("0123456789", 2, 7, (3.0, 2.5), (0.1, 0.1)).text == (
        "adapter 01234567: 7 tokens in 2 steps, loss 3.000 at first, 2.500 at last"
    )
