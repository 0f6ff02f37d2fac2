"""Every value knows the file and line, or the command line, that wrote it."""

from __future__ import annotations

import pytest

from .conftest import Project

COMMAND = "command line"


def test_values_come_from_the_file_that_wrote_them_last(project: Project) -> None:
    spec = project.compose("pipeline=story", "experiment=cold", "context=window", "context.turns=3", "concurrency=4")
    expected = {
        ("graph", "context", "use"): "conf/context/window.yaml:4",
        ("graph", "context", "turns"): "command line",
        ("graph", "prompt", "system"): "pipelines/story.yaml:11",
        ("graph", "reply"): "pipelines/story.yaml:15",
        ("graph",): "pipelines/story.yaml:8",
        ("sampling", "temperature"): "conf/sampling/greedy.yaml:4",
        ("sampling",): "conf/sampling/greedy.yaml:4",
        ("resources", "store", "use"): "conf/store/memory.yaml:4",
        ("seed",): "conf/experiment/cold.yaml:6",
        ("concurrency",): "command line",
        ("plugins",): "conf/config.yaml:36",
        ("input", "path"): "conf/input/sample.yaml:4",
    }
    assert {path: spec.origins[path] for path in expected} == expected


def test_what_is_read_through_a_reference_comes_from_where_it_was_written(project: Project) -> None:
    spec = project.compose("model=qwen", "model.path=/weights")
    assert spec.resources["engine"]["model"]["path"] == "/weights"
    assert spec.origin(("resources", "engine", "model", "hub")) == "conf/model/qwen.yaml:5"
    assert spec.origin(("resources", "engine", "model", "path")) == "command line"
    assert spec.origin(("resources", "engine", "use")) == "conf/engine/transformers.yaml:4"


def test_every_value_of_the_spec_has_an_origin(project: Project) -> None:
    spec = project.compose("pipeline=best_of", "graph.reply={weights: {a: 1}}", "sampling.stop=[x,y]")

    def paths(value: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path, *(below for key, item in items for below in paths(item, (*path, str(key))))]

    content = {key: value for key, value in spec.content().items() if key not in ("name", "pipelines")}
    missing = [path for path in paths(content, ()) if path and path not in spec.origins]
    assert missing == []
    assert spec.origins["graph", "reply", "weights", "a"] == "command line"
    assert spec.origins["sampling", "stop", "1"] == "command line"


def test_what_was_deleted_has_no_origin(project: Project) -> None:
    spec = project.compose("~graph.remember")
    assert [path for path in spec.origins if path[:2] == ("graph", "remember")] == []


def test_hydra_itself_is_no_part_of_it(project: Project) -> None:
    assert [path for path in project.compose("hydra.run.dir=x").origins if path[0] == "hydra"] == []


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], {}),
        (["experiment=cold", "pipeline=best_of"], {}),
        (["store=sqlite", "store.path=x"], {("resources", "store"): COMMAND, ("resources", "store", "path"): COMMAND}),
        (["model=qwen"], {("resources", "engine", "model"): COMMAND}),
        (["model.path=x"], {("resources", "engine", "model", "path"): COMMAND}),
        (
            ["engine=echo", "model=qwen", "model.path=x"],
            {("resources", "engine"): COMMAND, ("model",): COMMAND, ("model", "path"): COMMAND},
        ),
        (
            ["engine=echo", "model=qwen", "graph.prompt.system=\"I am ${model.name}.\""],
            {("resources", "engine"): COMMAND, ("graph", "prompt", "system"): COMMAND},
        ),
    ],
)  # fmt: skip
def test_what_the_user_chose_is_known(words: list[str], chosen: dict[tuple[str, ...], str], project: Project) -> None:
    assert project.compose(*words).chosen == chosen


def test_what_a_file_of_the_user_says_is_chosen_and_what_it_chooses_as_long_as_that_is_in_force(
    project: Project,
) -> None:
    project.write("conf/sampling/mine.yaml", "# @package sampling\n# Mine.\ntemperature: 0.1\n")
    project.pipeline("mine", "defaults: [dialogue, _self_, override /store: sqlite, override /sampling: mine]\n")
    ours = {("sampling",): "pipelines/mine.yaml:2", ("sampling", "temperature"): "conf/sampling/mine.yaml:3"}
    store = {("resources", "store"): "pipelines/mine.yaml:2"}
    assert project.compose("pipeline=mine").chosen == {**ours, **store}
    assert project.compose("pipeline=mine", "store=memory").chosen == {**ours, ("resources", "store"): COMMAND}
    assert project.compose("pipeline=mine", "sampling=greedy").chosen == {**store, ("sampling",): COMMAND}
    assert project.compose("pipeline=mine", "experiment=cold").chosen == store


def test_a_model_that_reads_itself_is_not_read(project: Project) -> None:
    project.write("conf/model/mine.yaml", "# @package model\n# Mine.\nname: mine\nhub: ${model.name}\n")
    assert ("model",) in project.compose("engine=echo", "model=mine").chosen


def test_a_value_that_a_resolver_makes_anew_is_known_by_its_reference(project: Project) -> None:
    project.pipeline(
        "inner", 'defaults: [dialogue, _self_]\ngraph:\n  prompt: {system: "It is ${now:%H:%M}."}\n'
    )  # fmt: skip
    project.pipeline("outer", "graph:\n  x: {use: pipeline/inner, from: {turn: '\\${now:%H}'}}\noutput: x\n")
    assert project.compose("pipeline=inner").changing == {("graph", "prompt", "system"): "${now:%H:%M}"}
    assert project.compose("pipeline=outer").changing == {
        ("pipelines", "inner", "graph", "prompt", "system"): "${now:%H:%M}"
    }
    assert project.compose("pipeline=inner", "graph.prompt.system=Hi").changing == {}
    assert project.compose("graph.prompt.system=${run_id:}").changing == {("graph", "prompt", "system"): "${run_id:}"}
    assert project.compose("graph.prompt.system=at ${now:%H}").changing == {}  # free text stands for itself
    assert project.compose("store=sqlite", "store.path=${now:%H}").changing == {}
