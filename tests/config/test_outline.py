"""The outline says what composing says, from the files alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vllm_flow.config import groups
from vllm_flow.config.layers import beside
from vllm_flow.config.outline import contents, outline

from .conftest import Project

CHOICES: list[dict[str, str]] = [
    {},
    {"engine": "echo"},
    {"experiment": "cold"},
    {"context": "window", "store": "sqlite"},
    {"pipeline": "story", "sampling": "greedy", "experiment": "cold"},
    *({"pipeline": name} for name in groups()["pipeline"]),
]


def same_as_composed(project: Project, choices: dict[str, str]) -> None:
    found, spec = outline(choices), project.compose(*(f"{group}={name}" for group, name in choices.items()))
    assert (looked_up(found["graph"]), found["output"]) == (spec.graph, spec.output)
    assert list(found["graph"]) == list(spec.graph)
    assert found["sampling"] == spec.sampling
    assert {name: one["use"] for name, one in found["resources"].items()} == {
        name: one["use"] for name, one in spec.resources.items()
    }


def looked_up(value: Any) -> Any:
    """With references as composing makes them: an outline leaves them as they are written."""
    if isinstance(value, dict):
        return {key: looked_up(item) for key, item in value.items()}
    if isinstance(value, list):
        return [looked_up(item) for item in value]
    reference = isinstance(value, str) and re.fullmatch(r"\$\{beside:(.+)\}", value)
    return beside(reference[1]) if reference else value


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_the_shipped_files_are_merged_as_hydra_merges_them(choices: dict[str, str], project: Project) -> None:
    same_as_composed(project, choices)


def test_the_project_stands_before_the_shipped_files(project: Project) -> None:
    project.pipeline(
        "short", "defaults: [dialogue, override /context: window]\ngraph:\n  prompt: {system: Be short.}\n"
    )
    project.pipeline("shorter", "defaults:\n  - short\n  - _self_\n  - override /engine: echo\noutput: reply\n")
    project.pipeline("dialogue", "# Mine.\ndefaults: [/shipped/pipeline/dialogue, _self_]\noutput: reply\n")
    project.write("conf/context/window.yaml", "# @package graph.context\n# Mine.\nuse: context/window\nturns: 2\n")
    project.write("conf/experiment/all.yaml", "# @package _global_\n# All.\ndefaults: [override /pipeline: shorter]\n")
    for choices in ({"pipeline": "short"}, {"pipeline": "shorter"}, {"experiment": "all"}, {}):
        same_as_composed(project, choices)
    assert outline({"pipeline": "short"})["graph"]["context"] == {"use": "context/window", "turns": 2}


def test_the_projects_primary_file_the_experiment_and_the_machine_come_in_this_order(project: Project) -> None:
    head = "# @package _global_\n# One.\n"
    values = "sampling: {{temperature: {0}, {1}: 0.5}}\noutput: reply\n"
    primary = f"{head}defaults: [/shipped/config, _self_]\n"
    project.write("conf/config.yaml", primary + values.format(0.1, "top_p"))
    project.write("conf/experiment/one.yaml", head + values.format(0.2, "min_p"))
    for choices in ({}, {"experiment": "one"}, {"experiment": "cold"}):
        same_as_composed(project, choices)
    assert outline({"experiment": "one"})["sampling"]["temperature"] == 0.2
    local = f"{head}defaults: [override /store: sqlite]\n"
    project.write("conf/local/default.yaml", local + values.format(0.3, "presence_penalty"))
    for choices in ({}, {"experiment": "one"}, {"experiment": "cold"}):
        same_as_composed(project, choices)
        assert outline(choices)["sampling"]["temperature"] == 0.3


def test_a_model_may_choose_its_engine(project: Project) -> None:
    project.write(
        "conf/model/tiny.yaml",
        "# @package model\n# Tiny.\ndefaults: [override /engine@_global_.engine: echo]\nname: tiny\npath: x\n",
    )
    same_as_composed(project, {"model": "tiny"})
    assert outline({"model": "tiny"})["resources"]["engine"] == {"use": "engine/echo"}


@pytest.mark.parametrize(
    "text",
    ["", "graph: [", "- a list", "graph: {a: *nothing}", "\0", "a: !!python/object:os.system x", "[" * 5000, "a: &a [*a]"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_nothing(project: Project, text: str) -> None:
    project.write("pipelines/odd.yaml", text)
    found = outline({"pipeline": "odd"})
    assert found["graph"] == {}
    assert found["resources"]["engine"]["use"] == "engine/transformers"


def test_files_that_build_on_each_other_in_a_circle_are_each_read_once(project: Project) -> None:
    project.pipeline("one", "defaults: [two, _self_]\ngraph: {a: {use: fuse/chat}}\n")
    project.pipeline("two", "defaults: [one, _self_]\ngraph: {b: {use: fuse/chat}}\n")
    assert list(outline({"pipeline": "one"})["graph"]) == ["b", "a"]


def test_what_is_written_stays_as_it_is(project: Project) -> None:
    place, values = contents("engine/transformers")
    assert place == ("resources", "engine")
    assert values["model"] == "${model}"
    none: tuple[tuple[str, ...], dict[str, Any]] = ((), {})
    assert contents("engine/nothing") == none
