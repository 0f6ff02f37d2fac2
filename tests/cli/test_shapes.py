"""Answers of a shape from the YAML to the record: checked, streamed, swept, read by other stages, and replayed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import vllm_flow
from tests import command
from tests.replay.runs import TINY, newest
from vllm_flow.cli import main
from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion, Score

CAT = """# @package _global_
# What is said of a cat, as data.
graph:
  prompt: {use: fuse/chat}
  context: {use: context/full}
  schedule: {use: schedule/sampling}
  reply:
    use: infer/generate
    schema:
      type: object
      required: [name, age, more]
      properties:
        name: {type: string, maxLength: 4}
        age: {type: integer, minimum: 0, maximum: 30}
        more: {$ref: "#/$defs/more"}
      $defs:
        more: {type: array, items: {enum: [cat, dog, null]}, maxItems: 2}
  remember: {use: context/update}
"""
AGED = "  aged: {use: test/aged}\noutput: aged\n"
CAT_OF_ECHO = '{"name":"","age":1,"more":[]}'


@stage("test/aged")
@dataclass(frozen=True)
class Aged:
    """Reads what the answer holds."""

    def run(self, reply: Completion) -> Score:
        return Score(reply.data["age"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    write("cat", CAT + "output: reply\n")
    return tmp_path


def write(name: str, text: str) -> None:
    Path(f"pipelines/{name}.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def flow(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        return code, *capfd.readouterr()

    return call


Flow = Callable[..., tuple[int, str, str]]


def results(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]


def test_the_record_has_what_was_asked_for_and_what_the_answer_holds(flow: Flow) -> None:
    assert flow("pipeline=cat", "engine=echo", "input.text=Tom?")[:2] == (0, f"{CAT_OF_ECHO}\n")
    (row,) = results(newest())
    assert row["value"]["parsed"] == {"value": {"name": "", "age": 1, "more": []}, "problem": None}
    (calls,) = [json.loads(line) for line in (newest() / "calls.jsonl").read_text("utf-8").splitlines()]
    (call,) = calls["calls"]
    assert list(json.loads(call["shape"]["schema"])["properties"]) == ["name", "age", "more"]
    assert flow("replay", str(newest()), "--verify") == (0, "the answer is equal\n", "")
    assert flow("replay", str(newest()))[:2] == (0, f"{CAT_OF_ECHO}\n")


def test_a_model_with_random_weights_is_held_to_it_and_verified(flow: Flow) -> None:
    tiny = [word for word in TINY if "tokens" not in word]
    assert flow("pipeline=cat", *tiny, "input.text=Tom?", "sampling.max_tokens=200")[0] == 0
    (row,) = results(newest())
    held = row["value"]["parsed"]["value"]
    assert list(held) == ["name", "age", "more"]
    assert 0 <= held["age"] <= 30
    assert flow("replay", str(newest()), "--verify") == (0, "the answer is equal\n", "")


def test_another_stage_reads_the_data(flow: Flow) -> None:
    write("aged", CAT + AGED)
    flow("pipeline=aged", "engine=echo", "input.text=Tom?")
    assert results(newest())[0]["value"] == {"value": 1}
    flow("pipeline=aged", "engine=echo", 'input.text="{\\"name\\":\\"Tom\\", \\"age\\":3, \\"more\\":[\\"cat\\"]}"')
    assert results(newest())[0]["value"] == {"value": 3}


def test_what_was_cut_off_fails_where_its_data_is_wanted_and_says_why(flow: Flow) -> None:
    write("aged", CAT + AGED)
    tiny = [word for word in TINY if "tokens" not in word]
    flow("pipeline=aged", *tiny, "input.text=Tom?", "sampling.max_tokens=9")
    (row,) = results(newest())
    assert row["failure"] == {
        "node": "aged",
        "kind": "EngineError",
        "message": "graph.aged (test/aged): the answer was cut off before its schema was complete. Raise "
        "sampling.max_tokens, or ask for a shorter one.",
    }


def test_every_point_of_a_sweep_has_its_shape(flow: Flow) -> None:
    write("swept", CAT.partition("    schema:")[0] + "    regex: a\n  remember: {use: context/update}\noutput: reply\n")
    several = ["pipeline=swept", "engine=echo", "input.text=Tom?", "graph.reply.regex='[ab]{2}','[0-9]{3}'"]
    outcomes = vllm_flow.run_sweep(overrides=several)
    assert [results(one.folder)[0]["value"]["text"] for one in outcomes] == ["aa", "111"]


def test_several_answers_to_one_prompt_all_have_it(flow: Flow) -> None:
    few = CAT.replace("infer/generate", "infer/sample").replace("  remember: {use: context/update}\n", "")
    write("many", few.replace("  reply:", "  candidates:") + "  best: {use: select/vote}\noutput: best\n")
    code, out, err = flow("pipeline=many", "engine=echo", "input.text=Tom?", "sampling.n=3")
    assert (code, out) == (0, f"{CAT_OF_ECHO}\n"), err


def test_check_finds_what_no_answer_can_be_held_to_with_path_file_and_line_and_without_torch(folder: Path) -> None:
    wrong = CAT.replace("maxLength: 4", "uniqueItems: true").replace("maximum: 30", "maximum: -1")
    write("cat", wrong + "output: reply\n")
    code = (
        "import sys\nfrom vllm_flow.cli import main\n"
        "code = main(['check', 'pipeline=cat', 'engine=transformers'])\n"
        "assert code == 2 and not {'torch', 'transformers', 'numpy'} & set(sys.modules), code\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).splitlines() == [
        "graph.reply.schema.properties.name.uniqueItems (pipelines/cat.yaml:13): the keyword 'uniqueItems' is not "
        "supported here. Beside string there are: format, maxLength, minLength, pattern.",
        "graph.reply.schema.properties.age (pipelines/cat.yaml:14): no answer can be held to it: minimum (0) is greater "
        "than maximum (-1). Change it.",
    ]


def test_check_refuses_an_engine_that_holds_answers_to_nothing_of_the_kind(flow: Flow) -> None:
    words = ("engine=openai", "model=gpt", "engine.dialect=common", "engine.api_key=null")
    code, out, err = flow("check", "pipeline=cat", *words)
    assert (code, out + err) == (
        2,
        "graph.reply (pipelines/cat.yaml:7): the engine holds no answer to a `schema`. Remove it, or choose another "
        "engine, such as engine=transformers.\n",
    )


def test_a_chat_says_that_an_answer_is_not_of_its_shape(folder: Path) -> None:
    words = ["chat", "pipeline=cat", "engine=echo", "store.path=kept.sqlite", "sampling.max_tokens=2"]
    said = command.flow(folder, *words, typed='{"name": "A",\nTom\n')
    assert said.stdout == f"{CAT_OF_ECHO}\n{CAT_OF_ECHO}\n"
    said = command.flow(folder, *words, typed='{"name": "A", "age": 3, "more": []}\n')
    assert said.stdout == '{"name": "A",\n'
    problem = (
        "(the answer was cut off before its schema was complete. Raise sampling.max_tokens, or ask for a shorter one.)"
    )
    assert problem in said.stderr.splitlines()
    assert "(the answer was cut at sampling.max_tokens)" not in said.stderr
