"""Sessions made from files and from Python: equal specs, equal checks, and faults with the paths that files have."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from tests import fakes
from vllm_flow import FlowError, Now, Sampling, Text, Turn, node, schedule
from vllm_flow.clocks import System
from vllm_flow.core.errors import ConfigError
from vllm_flow.engines import Echo, Transformers
from vllm_flow.inputs import Text as OneText
from vllm_flow.metrics import Mean, Number, words
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.schedules import Sum
from vllm_flow.stages import Chat, FromSampling, Full, Generate, Update, Window
from vllm_flow.stores import Memory

DIALOGUE = {
    "context": Full(),
    "prompt": Chat(),
    "schedule": FromSampling(),
    "reply": Generate(),
    "remember": Update(),
}
PARTS = {"engine": Echo(), "store": Memory()}


@dataclass(frozen=True)
class Unregistered:
    """A stage that nobody registered."""

    mark: str = "!"

    def run(self, turn: Turn) -> Text:
        return Text(turn.text + self.mark)


def faults(graph: Any, output: str = "reply", **own: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        vllm_flow.build(graph, output, **{"resources": PARTS, **own})
    return str(caught.value).splitlines()


def test_a_dialogue_of_python_is_that_of_the_file_apart_from_its_input() -> None:
    clock = {"use": "clock/system", "zone": None}  # written out in its file
    unread = {
        name: vllm_flow.load("dialogue", record=False).spec.resources[name]
        for name in ("tools", "web", "media", "embedder", "transcriber")
    }
    calm = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.1, max_tokens=192)
    built = vllm_flow.build(
        DIALOGUE, "reply", resources={**PARTS, **unread, "clock": clock}, sampling=calm, name="dialogue", record=False
    )
    loaded = vllm_flow.load("dialogue", ["engine=echo", "input.text=Hello"], record=False)
    assert {**built.spec.content(), "input": None} == {**loaded.spec.content(), "input": None}
    again = vllm_flow.build(
        {name: {"use": entry["use"]} for name, entry in loaded.spec.graph.items()},
        "reply", resources={**PARTS, **unread, "clock": clock}, sampling=loaded.spec.sampling, input=loaded.spec.input,
        name="dialogue", record=False,
    )  # fmt: skip
    assert again.spec.fingerprint == loaded.spec.fingerprint
    assert built.run("Hello").value == loaded.run("Hello").value


def test_a_line_is_a_stage_a_mapping_or_a_stage_with_words_beside_it() -> None:
    graph = {
        "said": {"use": "fake/text"},
        "wanted": fakes.Asks(),
        "joined": node(fakes.Join(), first="said", second="said"),
        "again": node("fake/join", when="wanted", first="joined", second="said"),
        "reply": {"use": Unsure(), "from": {"first": "again"}},
    }
    with vllm_flow.build(graph, "reply", record=False) as session:
        assert session.spec.graph == {
            "said": {"use": "fake/text"},
            "wanted": {"use": "fake/asks"},
            "joined": {"use": "fake/join", "from": {"first": "said", "second": "said"}},
            "again": {"use": "fake/join", "from": {"first": "joined", "second": "said"}, "when": "wanted"},
            "reply": {"use": "test/unsure", "from": {"first": "again"}},
        }
        assert (session.run("a?").text, session.run("a.").text) == ("a?a?a?", "nothing")


@vllm_flow.stage("test/unsure")
@dataclass(frozen=True)
class Unsure:
    """The text there is, or a word for none."""

    def run(self, first: Text | None) -> Text:
        return first or Text("nothing")


def test_each_and_a_nested_pipeline_are_written_in_python_too() -> None:
    inner = {"graph": {"said": fakes.TextOf()}, "output": "said"}
    graph = {"prompts": fakes.Split(), "schedule": FromSampling(), "one": node("pipeline/inner"),
             "answers": node(Generate(), each="prompt", prompt="prompts"),
             "scores": node(fakes.Length(), each="completion", completion="answers"),
             "reply": node(Counted(), text="one")}  # fmt: skip
    with vllm_flow.build(graph, "reply", resources=PARTS, pipelines={"inner": inner}, record=False) as session:
        assert session.spec.pipelines["inner"]["graph"] == {"said": {"use": "fake/text"}}
        assert session.run("one two").text == "one two: 2"


@vllm_flow.stage("test/counted")
@dataclass(frozen=True)
class Counted:
    """A text and how many scores there are."""

    def run(self, text: Text, scores: tuple[vllm_flow.Score, ...]) -> Text:
        return Text(f"{text.text}: {len(scores)}")


def test_options_of_instances_are_written_as_a_file_would_say_them() -> None:
    shape = Architecture(hidden_size=32, layers=1, heads=2)
    resources = {"engine": Transformers(Model("tiny", architecture=shape), dtype="float32"), "store": Memory()}
    graph = {**DIALOGUE, "context": Window(turns=2), "schedule": FromSampling(set={"temperature": 0.5})}
    session = vllm_flow.build(graph, "reply", resources=resources, input=OneText("Hello"), record=False)
    assert session.spec.content()["resources"]["engine"] == {
        "use": "engine/transformers",
        "model": {"name": "tiny", "architecture": {"hidden_size": 32, "layers": 1, "heads": 2}},
        "dtype": "float32",
    }
    assert session.spec.content()["graph"]["context"] == {"use": "context/window", "turns": 2}
    assert session.spec.content()["graph"]["schedule"] == {"use": "schedule/sampling", "set": {"temperature": 0.5}}
    assert session.spec.content()["input"] == {"use": "input/text", "text": "Hello"}
    assert session.pipeline.resources["engine"].options == resources["engine"]


def test_metrics_are_instances_functions_or_mappings() -> None:
    table = {"right": Number(tolerance=0.5), "lines": words, "mean": {"use": Mean(), "from": {"correct": "right"}}}
    assert vllm_flow.build(DIALOGUE, "reply", resources=PARTS, metrics=table, record=False).spec.metrics == {
        "right": {"use": "answer/number", "tolerance": 0.5},
        "lines": {"use": "length/words"},
        "mean": {"use": "samples/mean", "from": {"correct": "right"}},
    }
    assert faults(DIALOGUE, metrics={"right": Unregistered(), "lines": faults}) == [
        "metrics.right: Unregistered is not registered as a metric. Register its class under a name such as `role/manner`.",
        "metrics.lines: faults is not registered as a metric. Register it under a name such as `role/manner`.",
    ]


def test_the_configured_input_is_answered() -> None:
    with vllm_flow.build(DIALOGUE, "reply", resources=PARTS, input=OneText("Hello"), record=False) as session:
        assert [one.text for one in session.run()] == ["Hello"]
    session = vllm_flow.build(DIALOGUE, "reply", resources=PARTS, record=False)
    with pytest.raises(ConfigError) as caught:
        session.run()
    assert str(caught.value) == (
        "input: 'python' has nothing to answer. Give a text with input.text=…, or rows with input.path=…."
    )


def test_all_faults_are_told_at_the_paths_that_a_file_would_have() -> None:
    graph = {
        **DIALOGUE,
        "prompt": Chat(system=3),  # type: ignore[arg-type]
        "schedule": FromSampling,
        "reply": {"use": Generate(), "logprob": True},
        "loud": Unregistered(),
        "louder": node(Unregistered()),
    }
    assert faults(graph, sampling={"temperature": -1}, resources={"engine": Echo, "store": Memory()}) == [
        "graph.prompt.system: 3 does not fit. It takes a text, or null.",
        "graph.schedule: FromSampling is a class. Write an instance: FromSampling(…).",
        "graph.reply.logprob: there is no option 'logprob'. Did you mean 'logprobs'? Options: choices, logprobs, regex, schema, top_logprobs.",
        "graph.loud: Unregistered is not registered as a stage. Register its class under a name such as `role/manner`.",
        "graph.louder: Unregistered is not registered as a stage. Register its class under a name such as `role/manner`.",
        "resources.engine: Echo is a class. Write an instance: Echo(…).",
        "sampling.temperature: -1 does not fit. It takes a number of 0 or more.",
    ]


def test_a_part_of_the_wrong_kind_is_refused_by_its_name() -> None:
    (fault,) = faults({**DIALOGUE, "prompt": System()})
    assert fault.startswith("graph.prompt.use: there is no stage 'clock/system'. There are: ")


@pytest.mark.parametrize(
    ("graph", "own", "words"),
    [
        (None, {}, "graph: null does not fit. It takes a mapping."),
        (
            [Chat()],
            {},
            "graph: [Chat(system=None, budget=None, shares=mappingproxy({}))] does not fit. It takes a mapping.",
        ),
        (DIALOGUE, {"input": Unregistered()}, "input: Unregistered(mark='!') does not fit. It takes a mapping."),
        (DIALOGUE, {"pipelines": {"a": 3}}, "pipelines.a: 3 does not fit. It takes a mapping."),
        (DIALOGUE, {"seed": "one"}, "seed: 'one' does not fit. It takes an integer."),
        (
            DIALOGUE,
            {"resources": {**PARTS, "judge": {"use": "engine/echo", "api_key": "sk-1"}}},
            "resources.judge.api_key: a secret is written out. Write ${secret:NAME}; it is read from the environment "
            "variable NAME when it is used.",
        ),
    ],
)
def test_what_is_no_pipeline_at_all_is_a_fault_too(graph: Any, own: dict[str, Any], words: str) -> None:
    assert faults(graph, **own)[0] == words


def test_a_stage_of_a_notebook_needs_no_file(place: Path) -> None:
    code = """
from dataclasses import dataclass, replace
import vllm_flow
from vllm_flow import Text, Turn

for mark in "!?":  # the cell, run again
    @vllm_flow.stage("edit/loud")
    @dataclass(frozen=True)
    class Loud:
        "The turn in capitals."
        mark: str

        def run(self, turn: Turn) -> Text:
            return Text(turn.text.upper() + self.mark)

with vllm_flow.build({"reply": Loud("!!")}, "reply", name="my notebook/1") as session:
    print(session.run("hello").text, session.spec.graph["reply"], session.folder.name[9:29])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert done.stdout == "HELLO!! {'use': 'edit/loud', 'mark': '!!'} my_notebook_1-python\n", done.stderr


def test_sessions_can_be_loaded_in_several_threads_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        words = [["engine=echo", f"seed={seed}"] for seed in range(8)]
        sessions = list(pool.map(lambda one: vllm_flow.load(overrides=one, record=False), words))
    assert [session.spec.seed for session in sessions] == list(range(8))


def test_a_project_elsewhere_is_read_where_it_is(place: Path) -> None:
    project = place / "project"
    for name, text in (
        ("stages/shout.py", SHOUT),
        ("pipelines/loud.yaml", "# @package _global_\n# Loud.\ngraph: {reply: {use: edit/shout}}\noutput: reply\n"),
        ("pipelines/loud.jsonl", '{"conversation": "a", "text": "hello"}\n'),
        ("conf/config.yaml", "# @package _global_\n# Ours.\ndefaults: [/shipped/config, _self_]\nseed: 7\n"),
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    with vllm_flow.load("loud", project=project, record=False) as session:
        assert (session.run("hey").text, [one.text for one in session.run()]) == ("HEY", ["HELLO"])
        session.set("seed=8")
        assert (session.spec.seed, session.run("hey").turn.number) == (8, 2)
    with pytest.raises(ConfigError, match="there is no 'loud'"):
        vllm_flow.load("loud")
    with pytest.raises(ConfigError) as caught:
        vllm_flow.load("loud", project="nowhere")
    assert (
        str(caught.value) == f"project: there is no folder {place / 'nowhere'}. Name the one with conf/ or pipelines/."
    )


SHOUT = '''
from dataclasses import dataclass
from vllm_flow import Text, Turn, stage

@stage("edit/shout")
@dataclass(frozen=True)
class Shout:
    """The turn in capitals."""

    def run(self, turn: Turn) -> Text:
        return Text(turn.text.upper())
'''


def test_a_parameter_follows_a_function_or_an_instance_from_python() -> None:
    @schedule("making-hush")
    def hush(now: Now) -> float:
        """Less and less."""
        return 1 / (1 + now.token)

    @schedule("making-calm")
    @dataclass(frozen=True)
    class Calm:
        """As calm as it is said to be."""

        rate: float = 0.5
        to: float = 0.1

        def at(self, now: Now) -> float:
            return max(self.to, self.rate / (1 + now.token))

    given = {"temperature": hush, "top_p": Calm(0.8), "min_p": Sum((Calm(rate=0.2), 0.1)), "max_tokens": 9}
    with vllm_flow.build(DIALOGUE, "reply", resources=PARTS, sampling=given, record=False) as session:
        assert session.spec.sampling == {
            "max_tokens": 9,
            "temperature": {"making-hush": {}},
            "top_p": {"making-calm": {"rate": 0.8}},
            "min_p": {"sum": {"of": [{"making-calm": {"rate": 0.2}}, {"constant": {"value": 0.1}}]}},
        }
        plan = session.pipeline.sampling.schedule()
    assert [plan.at(token).temperature for token in range(3)] == [1.0, 0.5, 1 / 3]
    assert [plan.at(token).top_p for token in (0, 1, 99)] == [0.8, 0.4, 0.1]
    assert [plan.at(token).min_p for token in (0, 1)] == pytest.approx([0.3, 0.2])


def test_a_function_that_nobody_registered_is_no_schedule() -> None:
    def hush(now: Now) -> float:
        return 0.5

    with pytest.raises(FlowError) as caught:
        vllm_flow.build(DIALOGUE, "reply", resources=PARTS, sampling={"temperature": hush}, record=False)
    assert str(caught.value) == 'hush is no schedule. Register its class or function with @schedule("name").'
