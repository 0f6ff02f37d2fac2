"""Inspect asks our pipelines: sampling, usage and stop reasons arrive, and what has no meaning here is refused."""
# ruff: noqa: E402  what is imported below needs inspect-ai

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

inspect_ai = pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: the extra eval has it")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of Inspect and what it brings are not ours

import tomllib

from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import includes
from inspect_ai.tool import ToolInfo

import vllm_flow
from vllm_flow.adapters.inspect_ai import FlowAPI
from vllm_flow.core.errors import ConfigError, EngineError, FlowError
from vllm_flow.session import Session

TINY = ["model=custom", "engine.device=cpu", "sampling=plain", "sampling.max_tokens=8"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def echo() -> Iterator[Session]:
    with vllm_flow.load("dialogue", ["engine=echo"], record=False) as session:
        yield session


@pytest.fixture
def tiny() -> Iterator[Session]:
    with vllm_flow.load("complete", TINY, record=False) as session:
        yield session


def ask(session: Session, *messages: Any, tools: Any = (), **config: Any) -> Any:
    api = FlowAPI("dialogue", session=session)
    said = [ChatMessageUser(content=one) if isinstance(one, str) else one for one in messages]
    try:
        return asyncio.run(api.generate(said, list(tools), "none", GenerateConfig(**config)))
    finally:
        api.close()


def test_an_answer_carries_its_usage_and_why_it_ended(echo: Session) -> None:
    whole, cut = ask(echo, "to be or not"), ask(echo, "to be or not", max_tokens=2)
    assert [(one.completion, one.stop_reason) for one in (whole, cut)] == [
        ("to be or not", "stop"),
        ("to be", "max_tokens"),
    ]
    usage = cut.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (4, 2, 6)
    assert ask(echo, "to be or not", stop_seqs=[" or"]).completion == "to be"


def test_messages_keep_their_roles(echo: Session) -> None:
    said = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content="a b"),
        ChatMessageAssistant(content="c"),
        "d",
    ]
    found = ask(echo, *said)
    assert (found.completion, found.usage.input_tokens) == ("d", 6)


def test_a_seed_repeats_an_answer_and_choices_differ(tiny: Session) -> None:
    asked = {"temperature": 1.0, "seed": 7, "num_choices": 3}
    first, again = ask(tiny, "to be", **asked), ask(tiny, "to be", **asked)
    texts = [one.message.text for one in first.choices]
    assert texts == [one.message.text for one in again.choices]
    assert len(set(texts)) == 3
    assert (first.usage.input_tokens, first.usage.output_tokens) == (5, 24)
    assert ask(tiny, "to be", temperature=1.0, seed=8).completion not in texts


def test_log_probabilities_come_with_the_texts_of_the_tokens(tiny: Session) -> None:
    found = ask(tiny, "to be", temperature=0.0, logprobs=True, top_logprobs=2).choices[0]
    content = found.logprobs.content
    assert "".join(one.token for one in content) == found.message.text
    scored = [one.logprob for one in content]
    assert scored == [one.top_logprobs[0].logprob for one in content]  # greedy
    assert all(one.top_logprobs[0].logprob >= one.top_logprobs[1].logprob for one in content)


def test_what_does_not_fit_the_model_is_told_as_inspect_has_it(tiny: Session) -> None:
    found = ask(tiny, "x" * 3000)
    assert (found.stop_reason, found.completion) == ("model_length", "")
    assert "but the model reads 2048" in found.error


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ({"best_of": 3, "effort": "low"}, ConfigError, ["GenerateConfig.best_of: 3 has no meaning here. Leave it out.", "GenerateConfig.effort: 'low' has no meaning here. Leave it out."]),
        ({"top_logprobs": 2}, ConfigError, ["GenerateConfig.top_logprobs: it does nothing by itself. Set logprobs=True beside it."]),
        ({"logprobs": True}, EngineError, ["inspect: logprobs: the engine does not say the text of a token. Leave them out."]),
        ({"tools": [ToolInfo(name="add", description="")]}, FlowError, ["inspect: the tools add cannot be called here. Use none."]),
    ],
)  # fmt: skip
def test_what_has_no_meaning_here_is_refused(
    echo: Session, how: dict[str, Any], kind: type[FlowError], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        ask(echo, "to be", **how)
    assert str(caught.value).splitlines() == words


def test_only_texts_of_the_three_roles_are_taken(echo: Session) -> None:
    with pytest.raises(FlowError) as caught:
        ask(echo, "a", ChatMessageTool(content="1"))
    assert str(caught.value) == "inspect: there is no role 'tool' here. Roles are: assistant, system, user."
    picture = ChatMessageUser(content=[inspect_ai.model.ContentImage(image="data:image/png;base64,AA==")])
    with pytest.raises(FlowError) as caught:
        ask(echo, picture)
    assert str(caught.value) == "inspect: a message has a part of type 'image'. Send text."


def test_the_entry_point_of_the_package_registers_the_model() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, value),) = project["entry-points"]["inspect_ai"].items()
    assert EntryPoint(name, value, "inspect_ai").load().FlowAPI is FlowAPI


def test_a_task_of_inspect_runs_on_a_pipeline_from_its_name(place: Path) -> None:
    questions = [Sample(input=f"say {number} twice", target=str(number)) for number in range(40)]
    task = inspect_ai.Task(dataset=questions, scorer=includes(), config=GenerateConfig(max_tokens=2))
    (log,) = inspect_ai.eval(
        task,
        model="vllm-flow/dialogue",
        model_args={"engine": "echo", "concurrency": 50},
        log_dir=str(place),
        display="none",
    )
    assert log.status == "success", log.error
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    assert {one.output.stop_reason for one in log.samples} == {"max_tokens"}
    assert log.stats.model_usage["vllm-flow/dialogue"].output_tokens == 80
