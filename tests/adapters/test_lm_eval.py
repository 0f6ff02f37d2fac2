"""lm-eval asks our pipelines: what it then reports is what its own transformers backend gives for the same weights."""
# ruff: noqa: E402  what is imported below needs lm-eval

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra eval has it")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of lm-eval and what it brings are not ours

import vllm_flow
from tests import tiny
from tests.adapters import arithmetic
from vllm_flow.adapters.lm_eval import FlowLM, evaluate_points
from vllm_flow.adapters.lm_eval.sampling import sampling_of
from vllm_flow.core.errors import ConfigError, FlowError
from vllm_flow.core.messages import user
from vllm_flow.core.values import Prompt
from vllm_flow.session import Session

ROOT = Path(__file__).parents[2]
TINY = ["model=custom", "engine.device=cpu", "engine.dtype=float32", "sampling=greedy", "sampling.max_tokens=6"]
APART = 1e-3
"""Between log-likelihoods of a whole text in float32, whose products are summed in another order."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def complete() -> Iterator[Session]:
    with vllm_flow.load("complete", TINY, record=False) as session:
        yield session


def instances(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    return [lm_eval.api.instance.Instance(kind, {}, one, 0) for one in arguments]


def ask(backend: str, model: Path, folder: Path, tasks: list[str], points: str) -> list[dict[str, Any]]:
    """What the backend gives at each point, in a process of its own."""
    out = folder / f"{backend}.json"
    command = [
        sys.executable,
        "-m",
        "tests.adapters.ask",
        backend,
        str(model),
        str(folder),
        ",".join(tasks),
        points,
        str(out),
    ]
    offline = {
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(command, cwd=ROOT, env=os.environ | offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["points"]
    return found


def answers(point: dict[str, Any], task: str) -> list[Any]:
    return [one["resps"] for one in sorted(point["samples"][task], key=lambda one: one["doc_id"])]


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Equal texts and choices, and log-likelihoods as equal as float32 has them."""
    for mine, other in zip(ours, theirs, strict=True):
        for task in mine["samples"]:
            found, expected = answers(mine, task), answers(other, task)
            if task == "arithmetic_written":
                assert found == expected
            elif task == "arithmetic_chosen":
                assert [[one[0][1] for one in row] for row in found] == [[one[0][1] for one in row] for row in expected]
                pairs = [
                    (float(a[0][0]), float(b[0][0]))
                    for x, y in zip(found, expected, strict=True)
                    for a, b in zip(x, y, strict=True)
                ]
                assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=APART)
            if task != "arithmetic_rolled":
                assert mine["results"][task] == other["results"][task]
            else:
                numbers = [
                    [value for value in one["results"][task].values() if isinstance(value, float)]
                    for one in (mine, other)
                ]
                assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


def test_scores_are_those_of_the_transformers_backend_at_every_point(tmp_path: Path) -> None:
    model = tiny.save(tmp_path / "model", "Llama")
    folder = arithmetic.write(tmp_path, 5)
    ours = ask("flow", model, folder, list(arithmetic.TASKS), "6:10")
    theirs = ask("hf", model, folder, list(arithmetic.TASKS), "6:10")
    same(ours, theirs)
    assert len({json.dumps(answers(one, "arithmetic_written")) for one in ours}) == 4  # the points do differ


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_the_arithmetic_of_smollm2_has_the_scores_of_the_transformers_backend(tmp_path: Path, smollm2: Path) -> None:
    model = smollm2
    folder = arithmetic.write(tmp_path, 200)
    written, chosen, _ = arithmetic.TASKS
    ours = ask("flow", model, folder, [written, chosen], "0:16")
    theirs = ask("hf", model, folder, [written], "0:16")
    (scored,) = ask("hf", model, folder, [chosen], "0:1")
    same(ours, [{key: {**one[key], **scored[key]} for key in ("results", "samples")} for one in theirs])


def test_requests_are_answered_in_their_order_whatever_their_arguments(complete: Session) -> None:
    texts = [f"{place} to be or not" for place in range(7)]
    asked = instances("generate_until", *((text, {"max_gen_toks": 2 + place % 3}) for place, text in enumerate(texts)))
    found = FlowLM(complete).generate_until(asked)
    engine = complete.opened("engine")
    alone = [complete.run(text).text for text in texts]  # six tokens each
    assert [len(engine.encode(one)) <= 2 + place % 3 for place, one in enumerate(found)] == [True] * 7
    assert [whole.startswith(one.rstrip("\ufffd")) for whole, one in zip(alone, found, strict=True)] == [True] * 7


@pytest.mark.parametrize(
    ("arguments", "sampling"),
    [
        ({}, {"temperature": 0.0, "stop": []}),
        ({"until": "x", "do_sample": False, "temperature": 0.7}, {"temperature": 0.0, "stop": ["x"]}),
        ({"do_sample": True, "temperature": 0.7, "top_k": 0}, {"temperature": 0.7, "top_k": None, "stop": []}),
        ({"do_sample": True}, {"stop": []}),
        ({"temperature": 0.5, "until": ["", "a"], "top_p": None}, {"temperature": 0.5, "stop": ["a"]}),
        ({"max_new_tokens": 7.0, "max_gen_toks": 5}, {"temperature": 0.0, "max_tokens": 5, "stop": []}),
        (
            {"num_beams": 1, "use_cache": True, "min_p": 0.1, "dry_multiplier": 1},
            {"temperature": 0.0, "min_p": 0.1, "dry_multiplier": 1, "stop": []},
        ),
    ],
)
def test_generation_arguments_become_sampling_parameters(arguments: dict[str, Any], sampling: dict[str, Any]) -> None:
    assert sampling_of(arguments) == sampling


def test_arguments_that_mean_nothing_here_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        sampling_of({"num_beams": 4, "topp": 0.9, "do_sample": True, "temperature": 0.0})
    beams, top_p, draws = str(caught.value).splitlines()
    assert beams.startswith("generation_kwargs.num_beams: 4 has no meaning here. Leave it out, or choose among: ")
    assert top_p.startswith("generation_kwargs.topp: 0.9 has no meaning here. Did you mean 'top_p'?")
    assert draws == (
        "generation_kwargs.do_sample: at temperature 0 nothing is drawn, but do_sample is true. "
        "Set a temperature, or leave it out."
    )


def test_requests_without_an_answer_are_told_with_their_number(complete: Session) -> None:
    asked = instances("generate_until", ("a", {}), ("x" * 3000, {}), ("b", {}))
    with pytest.raises(FlowError) as caught:
        FlowLM(complete).generate_until(asked)
    assert str(caught.value).startswith(
        "lm-eval: 1 of 3 requests have no answer. The first: graph.reply (infer/generate): "
    )


def test_a_continuation_begins_where_its_words_do(complete: Session) -> None:
    cases = [("to be ", "or not"), ("to be", " or not"), ("", "to be"), ("  ", "to be")]
    found = FlowLM(complete).loglikelihood(instances("loglikelihood", *cases))
    after, alone = complete.score(" or not", plain("to be")), complete.score("to be")
    assert [one[0] for one in found[:3]] == [pytest.approx(after.logprob), pytest.approx(after.logprob), alone.logprob]
    assert found[3][0] == complete.score("  to be").logprob


def test_a_continuation_is_greedy_if_the_model_would_say_it(complete: Session) -> None:
    model = FlowLM(complete)
    point = {"max_gen_toks": 3}
    (said,) = model.generate_until(instances("generate_until", ("to be", point)))
    ids = complete.run("to be").value.token_ids[:3]
    scored = complete.score(ids, tuple(complete.opened("engine").prompt_ids(plain("to be"))))
    assert scored.greedy == (True, True, True)
    (found,) = model.loglikelihood(instances("loglikelihood", ("to be", "#")))
    assert found[1] is (said.startswith("#"))


def test_a_text_longer_than_the_model_reads_is_rated_in_windows(tmp_path: Path) -> None:
    with vllm_flow.load("complete", [*TINY, "model.context_length=32"], record=False) as session:
        text = "It was the best of times, it was the worst of times."
        (found,) = FlowLM(session).loglikelihood_rolling(instances("loglikelihood_rolling", (text,)))
        assert FlowLM(session).loglikelihood_rolling(instances("loglikelihood_rolling", ("",))) == [0.0]
        ids = tuple(session.opened("engine").encode(text))
        first, second = session.score(ids[:32]), session.score(ids[32:], ids[-33:32])
        assert len(ids) == len(first.token_ids) + len(second.token_ids)
        assert found == pytest.approx(first.logprob + second.logprob)


def plain(text: str) -> Prompt:
    return Prompt((user(text),), plain=True)


def test_chat_templates_are_the_engines(complete: Session) -> None:
    model = FlowLM(complete)
    said = [{"role": "user", "content": "Hi"}]
    rendered = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert model.apply_chat_template(said) == rendered
    begun = [*said, {"role": "assistant", "content": "Well,"}]
    assert model.apply_chat_template(begun, add_generation_prompt=False) == rendered + "Well,"
    assert (model.chat_template(True), model.chat_template(False)) == ("chat", "")
    assert model.tokenizer_name.startswith("vllm-flow--custom--")
    engine = complete.opened("engine")
    assert engine.prompt_ids(plain(rendered)) == engine.prompt_ids(Prompt((user("Hi"),)))
    with pytest.raises(FlowError) as caught:
        model.apply_chat_template([{"role": "tool", "content": "1"}])
    assert str(caught.value) == "lm-eval: there is no role 'tool' here. Roles are: assistant, system, user."
    with pytest.raises(FlowError) as caught:
        model.chat_template("short")
    assert str(caught.value) == ("--apply_chat_template short: a model has one template here. Leave the name out.")


def test_a_pipeline_that_chats_generates_and_does_nothing_else() -> None:
    with vllm_flow.load("dialogue", ["engine=echo"], record=False) as session:
        model = FlowLM(session)
        assert model.generate_until(instances("generate_until", ("to be or", {"until": [" or"]}))) == ["to be"]
        with pytest.raises(FlowError) as caught:
            model.apply_chat_template([{"role": "user", "content": "Hi"}])
        assert str(caught.value) == (
            "lm-eval: the pipeline 'dialogue' does not read texts as they stand (fuse/plain), but its questions are in the "
            "chat template already. Leave --apply_chat_template out, or choose pipeline=complete."
        )
        with pytest.raises(FlowError) as caught:
            model.loglikelihood(instances("loglikelihood", ("a", " b")))
        assert str(caught.value).endswith("but log-likelihoods are those of the text alone. Choose pipeline=complete.")


def test_an_engine_without_a_tokenizer_gives_no_likelihoods() -> None:
    with vllm_flow.load("complete", ["engine=echo"], record=False) as session:
        with pytest.raises(FlowError) as caught:
            FlowLM(session).loglikelihood(instances("loglikelihood", ("a", " b")))
        assert str(caught.value) == (
            "lm-eval: the engine 'echo' has no tokenizer here. Choose another, such as engine=transformers."
        )
        with pytest.raises(FlowError) as caught:
            FlowLM(session, engine="judge").loglikelihood(instances("loglikelihood", ("a", " b")))
        assert str(caught.value) == ("lm-eval: the pipeline reads no resource 'judge'. Name the engine it reads.")


def test_model_arguments_are_words_of_the_command() -> None:
    made = FlowLM.create_from_arg_string(
        "pipeline=dialogue,engine=echo,seed=3,sampling.max_tokens=2", {"batch_size": 1}
    )
    assert (made.session.spec.name, made.session.spec.seed, made.session.spec.sampling["max_tokens"]) == (
        "dialogue",
        3,
        2,
    )
    made.session.close()
    with pytest.raises(FlowError) as caught:
        FlowLM.create_from_arg_obj({}, {"device": "cpu"})
    assert str(caught.value) == "--device cpu: the engine has it. Say engine.device=cpu in --model_args."
    with pytest.raises(FlowError) as caught:
        FlowLM(made.session, seed=3)
    assert str(caught.value) == "FlowLM: a session has its configuration already. Leave out: seed."


def test_a_sweep_is_one_evaluation_and_each_point_the_one_alone(tmp_path: Path, complete: Session) -> None:
    arithmetic.write(tmp_path, 4)
    manager = lm_eval.tasks.TaskManager(include_path=str(tmp_path), include_defaults=False)
    task, *_ = arithmetic.TASKS
    points = [{"temperature": 0.9, "do_sample": True, "top_p": top_p, "max_gen_toks": 8} for top_p in (0.5, 0.9)]
    model = FlowLM(complete)
    fused = evaluate_points(model, [task], points, task_manager=manager, bootstrap_iters=0)
    for point, found in zip(points, fused, strict=True):
        alone = lm_eval.simple_evaluate(model, tasks=[task], gen_kwargs=point, task_manager=manager, bootstrap_iters=0)
        assert found["results"] == alone["results"]
        assert answers(found, task) == answers(alone, task)
        assert found["configs"][task]["generation_kwargs"] == alone["configs"][task]["generation_kwargs"]
    assert answers(fused[0], task) != answers(fused[1], task)
    with pytest.raises(FlowError) as caught:
        evaluate_points(model, [task], [{"top_p": 1}, {"top_p": 1}], task_manager=manager)
    assert str(caught.value) == "evaluate_points: the point {'top_p': 1} is there twice. Leave one out."
    (tmp_path / "all.yaml").write_text(f"group: all_of_it\ntask: [{task}]\n", encoding="utf-8")
    manager = lm_eval.tasks.TaskManager(include_path=str(tmp_path), include_defaults=False)
    with pytest.raises(FlowError) as caught:
        evaluate_points(model, ["all_of_it"], points, task_manager=manager)
    assert str(caught.value) == "evaluate_points: these are groups: all_of_it. Name their tasks."


@pytest.mark.full  # lm-eval's command reads all its thousands of tasks first
@pytest.mark.parametrize(
    ("pipeline", "code", "words"), [("complete", 0, "|arithmetic_written|"), ("complet", 2, "Did you mean 'complete'?")]
)
def test_the_command_of_lm_eval_knows_the_model(tmp_path: Path, pipeline: str, code: int, words: str) -> None:
    arithmetic.write(tmp_path, 3)
    command = [
        sys.executable, "-m", "vllm_flow.adapters.lm_eval", "run", "--model", "vllm-flow",
        "--model_args", f"pipeline={pipeline}", "engine=echo", "--include_path", str(tmp_path), "--tasks", arithmetic.TASKS[0],
    ]  # fmt: skip
    offline = {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == code, done.stderr[-3000:]
    assert words in (done.stderr if code else done.stdout)
