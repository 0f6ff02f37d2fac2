"""The project's own stages: found by reading `stages/`, imported only when a configuration names them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.config.conftest import Project
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.spec import RunSpec

STAGE = '''"""A stage of the project."""

from dataclasses import dataclass, replace

from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion

from .marks import MARK


@stage("{name}")
@dataclass(frozen=True)
class Shout:
    """The reply in capitals."""

    mark: str = MARK

    def run(self, reply: Completion) -> Completion:
        return replace(reply, text=reply.text.upper() + self.mark)
'''
LOUD = """# @package _global_
# Talk loudly.
defaults: [dialogue, _self_]
graph:
  loud: {use: louder/shout}
output: loud
"""


@pytest.fixture
def loud(project: Project) -> Project:
    project.write("stages/shout.py", STAGE.format(name="louder/shout"))
    project.write("stages/marks.py", 'MARK = "!"\n')
    project.write("pipelines/loud.yaml", LOUD)
    return project


def build_faults(project: Project, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(project.compose(*overrides))
    return str(caught.value).splitlines()


def modules_of(project: Project) -> list[str]:
    files = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
    return sorted(Path(file).name for file in files if file.startswith(str(project.root)))


def test_a_stage_of_the_project_needs_no_line_but_its_use(loud: Project) -> None:
    spec = loud.compose("pipeline=loud", "engine=echo")
    assert spec.plugins == {"stages/shout": "stages/shout.py"}
    assert [node.use for node in Pipeline.build(spec).graph.nodes][-1] == "louder/shout"
    assert modules_of(loud) == ["marks.py", "shout.py"]


def test_nothing_is_imported_that_is_not_named(loud: Project) -> None:
    loud.write("stages/broken.py", '@stage("louder/broken"\nraise SystemExit(9)\n')
    Pipeline.build(loud.compose("engine=echo"))
    assert modules_of(loud) == []


def test_a_file_that_the_configuration_lists_is_not_listed_twice(loud: Project) -> None:
    spec = loud.compose("pipeline=loud", "plugins.mine=stages/shout.py")
    assert spec.plugins == {"mine": "stages/shout.py"}


def test_a_broken_file_that_is_named_is_the_one_fault_with_its_line(loud: Project) -> None:
    loud.write("stages/broken.py", STAGE.format(name="louder/broken").replace("replace\n", "replace\n1 / 0\n"))
    assert build_faults(loud, "pipeline=loud", "graph.loud.use=louder/broken") == [
        "plugins.stages/broken (command line): 'stages/broken.py' cannot be imported: "
        "ZeroDivisionError: division by zero (line 4). Mend it, or do without it."
    ]


def test_a_file_that_is_no_python_is_told_where_it_is_used(loud: Project) -> None:
    loud.write("stages/shout.py", '@stage("louder/shout")\ndef (:\n')
    assert build_faults(loud, "pipeline=loud") == [
        "plugins.stages/shout (pipelines/loud.yaml:5): 'stages/shout.py' cannot be imported: "
        "SyntaxError: invalid syntax (shout.py, line 2). Mend it, or do without it."
    ]


def test_a_misspelt_name_is_held_against_the_names_of_the_project_too(loud: Project) -> None:
    (fault,) = build_faults(loud, "pipeline=loud", "graph.loud.use=louder/shoot")
    assert fault.startswith(
        "graph.loud.use (command line): there is no stage 'louder/shoot'. Did you mean 'louder/shout'? There are: "
    )
    assert ", louder/shout, " in fault


def test_where_a_stage_was_found_is_part_of_the_run_and_what_was_not_used_is_none(loud: Project) -> None:
    spec = loud.compose("pipeline=loud", "engine=echo")
    assert spec.content()["plugins"] == {"stages/shout": "stages/shout.py"}
    assert "offered" not in spec.content()
    loud.write("stages/other.py", STAGE.format(name="louder/other"))
    again = loud.compose("pipeline=loud", "engine=echo")
    assert dict(again.offered) == {"louder/other": "stage", "louder/shout": "stage"}
    assert again == spec


def test_the_project_may_be_another_folder(
    loud: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud.write("stages/shout.py", STAGE.format(name="louder/whisper"))  # one process knows one stage of a name
    monkeypatch.setenv("VLLM_FLOW_PROJECT", str(loud.root))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    spec = loud.compose("pipeline=loud", "graph.loud.use=louder/whisper", "engine=echo")
    assert spec.plugins == {"stages/shout": str(loud.root / "stages/shout.py")}
    Pipeline.build(spec)


def test_the_choices_that_were_made_are_known_and_no_part_of_the_run(loud: Project) -> None:
    spec = loud.compose("pipeline=loud", "experiment=cold")
    assert {key: spec.choices[key] for key in ("pipeline", "experiment", "sampling", "model")} == {
        "pipeline": "loud",
        "experiment": "cold",
        "sampling": "greedy",
        "model": "smollm2",
    }
    assert "choices" not in spec.content()


FEEL = '''"""Schedules of the project."""

from dataclasses import dataclass

from vllm_flow import Now, schedule


@schedule("{0}")
@dataclass(frozen=True)
class Calm:
    """Less and less."""

    rate: float = 0.5

    def at(self, now: Now) -> float:
        return self.rate / (1 + now.token)


@schedule("{0}-hush", per_token=False)
def hush(now: Now) -> float:
    """Little."""
    return 0.25
'''


def values_of(spec: RunSpec, tokens: int = 3) -> list[float]:
    schedule = Pipeline.build(spec).sampling.schedule()
    return [schedule.at(token).temperature for token in range(tokens)]


@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("calm-a", "calm-a", [0.5, 0.25, 0.5 / 3]),
        ("calm-b", "{calm-b: {rate: 0.8}}", [0.8, 0.4, 0.8 / 3]),
        ("calm-c", "{clip: {of: calm-c, low: 0.3}}", [0.5, 0.3, 0.3]),
        ("calm-d", "{sum: [1, {calm-d: {rate: 1}}]}", [2.0, 1.5, 1 + 1 / 3]),
        ("calm-e", "calm-e-hush", [0.25, 0.25, 0.25]),
    ],
)
def test_a_schedule_of_the_project_needs_no_line_but_its_name(
    name: str, given: str, values: list[float], project: Project
) -> None:
    project.write("stages/feel.py", FEEL.format(name))
    project.write("stages/broken.py", '@schedule("broken")\nraise SystemExit(9)\n')
    spec = project.compose("engine=echo", f"sampling.temperature={given}")
    assert spec.plugins == {"stages/feel": "stages/feel.py"}
    assert values_of(spec) == values
    assert modules_of(project) == ["feel.py"]


def test_a_schedule_is_found_in_what_one_node_sets(project: Project) -> None:
    project.write("stages/feel.py", FEEL.format("calm-set"))
    spec = project.compose("engine=echo", "graph.schedule.set.temperature=calm-set")
    assert spec.plugins == {"stages/feel": "stages/feel.py"}
    (node,) = (node for node in Pipeline.build(spec).graph.nodes if node.name == "schedule")
    assert node.stage.foresee(SamplingPlan()).at(1).temperature == 0.25


def test_a_stage_is_named_by_its_use_and_by_no_other_text(loud: Project) -> None:
    assert loud.compose("engine=echo", "graph.prompt.system=louder/shout").plugins == {}
    assert loud.compose("engine=echo", "sampling.temperature=louder/shout").plugins == {}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("calm-q", "sampling.temperature (command line): 'calm-q' does not fit. Did you mean 'calm-x'? It takes a number of 0 or more, or a schedule: "),
        ("{calm-q: {rate: 1}}", "sampling.temperature.calm-q (command line): there is no schedule 'calm-q'. Did you mean 'calm-x'? There are: "),
        ("acme:calm", "sampling.temperature (command line): no installed package offers the plugin 'acme'. Installed: none."),
        ("{sum: [0.1, acme:calm]}", "sampling.temperature.sum.1 (command line): no installed package offers the plugin 'acme'. Installed: none."),
    ],
)  # fmt: skip
def test_a_schedule_that_nobody_has_is_one_line(given: str, line: str, project: Project) -> None:
    project.write("stages/feel.py", FEEL.format("calm-x"))
    (fault,) = build_faults(project, "engine=echo", f"sampling.temperature={given}")
    assert fault.startswith(line)


def test_a_text_that_reads_like_a_package_is_no_schedule_where_texts_are_meant(project: Project) -> None:
    spec = project.compose("engine=echo", "sampling.stop=['acme:calm']", "graph.prompt.system='acme:calm'")
    assert Pipeline.build(spec).sampling.numbers.stop == ("acme:calm",)


def test_a_broken_file_of_a_schedule_is_the_one_fault(project: Project) -> None:
    project.write("stages/feel.py", FEEL.format("calm-y").replace("rate: float", "1 / 0\n    rate: float"))
    assert build_faults(project, "engine=echo", "sampling.temperature=calm-y") == [
        "plugins.stages/feel (command line): 'stages/feel.py' cannot be imported: "
        "ZeroDivisionError: division by zero (line 13). Mend it, or do without it."
    ]
