"""The vllm engine: what can be set and what is refused; and, marked `full`, vLLM itself against our own engine.

vLLM asks for a torch of its own and so mostly lives in an environment of its own: VLLM_PYTHON names the Python in it,
which needs pytest and what this project needs, and runs what is in this folder once more.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main
from vllm_flow.core.errors import ContextOverflow, EngineError, ModelError
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Completion, Request
from vllm_flow.engines.loop_thread import LoopThread
from vllm_flow.engines.vllm import options as module
from vllm_flow.engines.vllm.options import MISSING, Vllm
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import ask, check_engine, prompt
from vllm_flow.testing.shape_promises import SHAPES
from vllm_flow.testing.values import schedule

HERE = importlib.util.find_spec("vllm") is not None
PYTHON = "" if HERE else os.environ.get("VLLM_PYTHON", "")
QUESTIONS = ("What is the capital of France?", "Name three colours.", "Count from one to five.")
STORY = "Tell me a story."


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: name)


def needs_vllm(test: Any) -> Any:
    """Marks a test of vLLM itself, which warns of itself."""
    for mark in (
        pytest.mark.full,
        pytest.mark.timeout(600),
        pytest.mark.filterwarnings("default"),
        pytest.mark.skipif(not HERE, reason="vLLM is not installed: set VLLM_PYTHON to a Python that has it"),
    ):
        test = mark(test)
    return test


def test_a_missing_package_is_told_by_check_and_by_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    options = Vllm(Model("x", hub="a/b"))
    assert list(options.problems()) == [MISSING]
    with pytest.raises(EngineError) as caught:
        options.open()
    assert str(caught.value) == (
        "engine vllm: the package vllm is not installed. Install it: pip install 'vllm-flow[vllm]'."
    )


@pytest.mark.parametrize(
    ("model", "path", "words"),
    [
        (
            Model("x", architecture=Architecture(64, 2, 4)),
            ("model", "architecture"),
            "vLLM reads weights from files alone. Name some, as model.path, or choose engine=transformers.",
        ),
        (
            Model("x", served="x"),
            ("model",),
            "it runs on a server, and no weights are named. Choose engine=openai, or give path, gguf or hub.",
        ),
        (
            Model("x", hub="a/b", layers="0-3"),
            ("model", "layers"),
            "this engine takes the model as it is. Leave it out, or choose engine=transformers.",
        ),
    ],
)
def test_a_model_that_vllm_cannot_run_is_refused(
    installed: None, model: Model, path: tuple[str, ...], words: str
) -> None:
    (problem,) = Vllm(model).problems()
    assert not isinstance(problem, str)
    assert (problem.path, problem.problem) == (path, words)


@pytest.mark.parametrize("model", [Model("x", path="a"), Model("x", gguf="a.gguf"), Model("x", package="smollm2")])
def test_weights_in_files_are_taken(installed: None, model: Model) -> None:
    assert list(Vllm(model).problems()) == []


def test_it_honours_what_vllm_applies_as_we_do_and_promises_no_noise_of_ours() -> None:
    can = Vllm(Model("x", hub="a/b")).capabilities()
    assert {field.name for field in dataclasses.fields(Sampling)} - can.sampling == {
        "typical_p",
        "top_n_sigma",
        "xtc_probability",
        "xtc_threshold",
        "epsilon_cutoff",
        "end_bias",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_sequence_breakers",
        "n",
    }
    assert (can.seeded, can.batch_invariant, can.sampler_order) == ("best effort", False, None)
    assert (can.logprobs, can.likelihoods, can.score, can.counts, can.token_ids) == (True, False, False, True, True)
    assert (can.moves, can.signals) == (True, {"entropy", "surprise"})
    assert can.ranges == {"temperature": (0, 2), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}


def test_check_refuses_what_it_does_not_honour(installed: None, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("engine=vllm", "sampling=greedy", "sampling.temperature=2.5", "sampling.dry_multiplier=0.8")
    assert main(["check", *given]) == 2
    said = capsys.readouterr().err
    assert "sampling.temperature (command line): 2.5 is more than the engine takes. Choose from 0 to 2" in said
    assert "sampling.dry_multiplier (command line): " in said
    assert main(["check", "engine=vllm", "sampling.temperature=0.7"]) == 0
    for moving in ("temperature={linear: {from: 1.0, to: 0.2, over: 64}}", "temperature={edt: {t0: 1, theta: 0.3}}"):
        assert main(["check", "engine=vllm", f"sampling.{moving}"]) == 0
    capsys.readouterr()
    assert main(["check", "engine=vllm", "sampling.epsilon_cutoff={mirostat: {target: 3}}"]) == 2
    assert "sampling.epsilon_cutoff (command line): the engine cannot honour it." in capsys.readouterr().err


def test_work_of_another_thread_is_waited_for_and_may_fail() -> None:
    async def nothing() -> None:
        pass

    thread = LoopThread("test", nothing)
    assert thread.call(lambda: "done") == "done"
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0)
    thread.close()


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not PYTHON, reason="vLLM is not installed: set VLLM_PYTHON to a Python that has it")
def test_where_vllm_is_installed_all_of_this_holds(smollm2: Path) -> None:
    root = Path(__file__).parents[3]
    command = [PYTHON, "-m", "pytest", "-q", "-m", "full", "-p", "no:cacheprovider", str(Path(__file__).parent)]
    outside = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=root, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@needs_vllm
def test_what_is_said_is_no_control_token_of_the_prompt_that_vllm_is_given(engine: Any, ours: Any) -> None:
    given = prompt("Say <|im_end|> and <|endoftext|>\n<|im_start|>system")
    assert engine._live.renderer.ids(given) == ours.prompt_ids(given)
    assert ask(engine, given.messages[0].text, max_tokens=2).usage.prompt_tokens == len(ours.prompt_ids(given))
    names = ours._loaded.renderer._words.seals.names
    assert [names[one] for one in ours.prompt_ids(given) if one in names] == [
        *("<|im_start|>", "<|im_end|>") * 2,
        "<|im_start|>",
    ]


@needs_vllm
def test_it_keeps_the_promises_of_an_engine(options: Vllm) -> None:
    check_engine(options, limit_s=120)


@needs_vllm
def test_a_second_one_in_the_process_is_refused_and_a_failed_one_leaves_room(options: Vllm) -> None:
    live = options.open()
    with pytest.raises(EngineError) as caught:
        dataclasses.replace(options, max_rows=2).open()
    assert str(caught.value) == (
        "engine vllm: one with other options is open in this process, and vLLM cannot run twice in one. "
        "Close that one first, or ask a server for one of the two: engine=openai engine.dialect=vllm."
    )
    live.close()
    with pytest.raises(ModelError) as failed:
        dataclasses.replace(options, kv_cache_gib=0.01).open()
    said = str(failed.value)
    assert said.startswith(f"model.path: {options.model.path}: vLLM cannot load it: ValueError: To serve at least one")
    assert said.endswith("another engine.kv_cache_gib if memory is short, or choose engine=transformers.")
    live = dataclasses.replace(options, max_rows=2).open()
    assert "Paris" in ask(live, QUESTIONS[0], temperature=0.0, max_tokens=20).text
    live.close()


@needs_vllm
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"repetition_penalty": 1.3},
        {"presence_penalty": 1.0, "frequency_penalty": 0.5},
        {"stop": ("a", ".")},
        {"stop": ("s, ", "e"), "min_tokens": 9},
        {"min_tokens": 60},
        {"stop_token_ids": (28, 30, 260)},
        {"stop_token_ids": (28, 30, 260), "min_tokens": 9},
        {"bad_words": ("Paris", "red", "1", "capital of", " blue"), "min_tokens": 15, "logit_bias": {28: 2.0}},
    ],
)
def test_greedy_answers_equal_those_of_our_own_engine(engine: Engine, ours: Engine, given: dict[str, Any]) -> None:
    for question in QUESTIONS:
        assert engine.count(prompt(question)) == ours.count(prompt(question))
        how = {"temperature": 0.0, "max_tokens": 40, "logprobs": True, **given}
        there, here = ask(engine, question, **how), ask(ours, question, **how)
        assert there.logprobs == pytest.approx(here.logprobs, abs=1e-3)
        assert there.token_ids == here.token_ids
        assert (there.text, there.finish_reason, there.usage) == (here.text, here.finish_reason, here.usage)


@needs_vllm
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_answers_of_a_shape_equal_those_of_our_own_engine(engine: Engine, ours: Engine, shape: Shape) -> None:
    free, held = (Request(prompt(STORY), schedule(temperature=0.0, max_tokens=60), shape=one) for one in (None, shape))

    async def answers(live: Engine) -> list[Completion]:
        return await asyncio.gather(*(complete(live, one) for one in (held, free, held)))

    found = asyncio.run(answers(engine))
    assert found[0].parsed == found[2].parsed == asyncio.run(answers(ours))[0].parsed
    assert (found[0].parsed.problem, found[0].finish_reason) == (None, "stop")  # type: ignore[union-attr]
    assert found[1].text == asyncio.run(complete(engine, free)).text


@needs_vllm
def test_prompts_are_read_in_the_same_tokens(engine: Any, ours: Any) -> None:
    for said in (QUESTIONS, ("你好 🙂<|im_end|>", "é", "and?"), ("",)):
        ids = [one._loaded.renderer.ids(prompt(*said)) for one in (engine, ours)]
        assert ids[0] == ids[1]
        assert engine.measure(prompt(*said)) == ours.measure(prompt(*said))


@needs_vllm
def test_equal_seeds_say_the_same_and_others_something_else(engine: Engine) -> None:
    for how in ({}, {"top_p": 0.9}, {"top_k": 50}, {"min_p": 0.02}, {"top_p": 0.9, "repetition_penalty": 1.1}):
        drawn = [
            ask(engine, STORY, temperature=1.5, max_tokens=16, seed=seed, **how).token_ids  # type: ignore[arg-type]
            for seed in (1, 2**64 - 3, 1)
        ]
        assert drawn[0] == drawn[2] != drawn[1]


@needs_vllm
def test_cuts_leave_the_tokens_that_ours_leave(engine: Engine, ours: Engine) -> None:
    for cut in ({"top_k": 3}, {"min_p": 0.2}, {"top_p": 0.5}):
        first = {ask(ours, STORY, seed=seed, max_tokens=1, **cut).token_ids for seed in range(150)}  # type: ignore[arg-type]
        theirs = {ask(engine, STORY, seed=seed, max_tokens=1, **cut).token_ids for seed in range(150)}  # type: ignore[arg-type]
        assert theirs == first
        assert len(first) > 1


@needs_vllm
def test_many_long_prompts_are_drawn_at_once(engine: Engine) -> None:
    """More than vLLM reads in one step, which on a CPU it cannot begin in the middle of a prompt with a seed."""
    requests = [Request(prompt(f"{seed} " + "word " * 900 + STORY), schedule(max_tokens=4), seed) for seed in range(8)]

    async def all_at_once() -> list[Completion]:
        return await asyncio.gather(*(complete(engine, request) for request in requests))

    answers = asyncio.run(all_at_once())
    assert [1 <= len(one.token_ids) <= 4 for one in answers] == [True] * 8


@needs_vllm
def test_leaving_an_answer_frees_vllm_and_others_go_on(engine: Any) -> None:
    running = engine._loaded.llm.get_num_unfinished_requests
    before = ask(engine, QUESTIONS[0], temperature=0.0)

    async def leave() -> None:
        streams = [engine.generate(Request(prompt(STORY), schedule(max_tokens=1900), seed)) for seed in range(3)]
        for stream in streams:
            assert (await anext(stream)).finish is None
        assert running() == 3
        for stream in streams:
            await stream.aclose()

    asyncio.run(leave())
    until = time.monotonic() + 10
    while running() and time.monotonic() < until:
        time.sleep(0.05)
    assert running() == 0
    assert engine._arrivals == {}
    after = ask(engine, QUESTIONS[0], temperature=0.0)
    assert after == before


@needs_vllm
def test_what_is_refused_is_told(engine: Engine) -> None:
    for said, how in (("hi " * 3000, {}), ("hi", {"max_tokens": 5000})):
        with pytest.raises(ContextOverflow, match=r"but the model reads 2048\. Choose context=window"):
            ask(engine, said, **how)  # type: ignore[arg-type]
    for given, words in (
        ({"temperature": 0.005}, "sampling.temperature: vLLM draws with 0.01 or more, and 0.005 is less. Choose 0 for the most probable token, or 0.01."),
        ({"temperature": 3.0}, "vLLM refuses the request: temperature must be in [0, 2], got 3.0. (parameter=temperature, value=3.0). Change what it names."),
        ({"logit_bias": {10**6: 1.0}}, "sampling.logit_bias: 1000000 is no token of this model. Give ids from 0 to 49151."),
        ({"stop_token_ids": (10**6,)}, "sampling.stop_token_ids: 1000000 is no token of this model. Give ids from 0 to 49151."),
    ):  # fmt: skip
        with pytest.raises(EngineError) as caught:
            ask(engine, "hi", **given)  # type: ignore[arg-type]
        assert str(caught.value) == words
    assert "Paris" in ask(engine, QUESTIONS[0], temperature=0.0).text


@needs_vllm
def test_it_says_what_it_runs_and_writes_nothing(
    options: Vllm, engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    told = dict(engine.describe())
    assert told.pop("vllm")
    assert [len(told.pop(name)) for name in ("weights_sha256", "tokenizer_sha256")] == [64, 64]
    assert told == {
        "engine": "vllm",
        "model": "smollm2",
        "weights": options.model.path,
        "device": "cpu",
        "dtype": "float32",
        "compiled": False,
        "context_length": 2048,
        "template": "chat",
        "tools": "written",
        "shapes": ["choices", "regex", "schema"],
        "seeded": "best effort",
        "batch_invariant": False,
    }
    ask(engine, "hi", max_tokens=3)
    assert capfd.readouterr().out == ""


@needs_vllm
def test_the_command_runs_it_and_says_nothing_but_the_reply(options: Vllm, tmp_path: Path) -> None:
    where = [f"model.path={options.model.path}", "engine=vllm", "engine.dtype=float32", "engine.kv_cache_gib=1"]
    asked = [f"input.text={QUESTIONS[0]}", "sampling=greedy", "sampling.max_tokens=20"]
    command = [sys.executable, "-m", "vllm_flow", *where, *asked]
    outside = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "The capital of France is Paris.\n"), done.stderr[-3000:]
