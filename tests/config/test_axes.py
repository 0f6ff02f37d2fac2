"""Points of a sweep: from files and the command line, in one order, and nothing that is said is forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vllm_flow.config import run_jobs
from vllm_flow.config.axes import as_override
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.spec import RunSpec

from .conftest import Project
from .test_jobs import Kept

HEAD = "# @package _global_\n# A sweep.\n"


def points(*arguments: str) -> list[RunSpec]:
    task = Kept()
    run_jobs(arguments, task)
    return [spec for spec, _ in task.jobs]


def faults(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        points(*arguments)
    return str(caught.value).splitlines()


def both(*arguments: str) -> list[tuple[Any, Any]]:
    return [(one.sampling["temperature"], one.sampling["top_p"]) for one in points(*arguments)]


def test_a_grid_on_the_command_line_or_in_a_file_is_every_combination_the_last_key_fastest(project: Project) -> None:
    expected = [(0.2, 0.8), (0.2, 0.9), (0.7, 0.8), (0.7, 0.9)]
    assert both("sweep.grid={sampling.temperature:[0.2,0.7],sampling.top_p:[0.8,0.9]}") == expected
    assert both("sweep.grid.sampling.temperature=[0.2,0.7]", "sweep.grid.sampling.top_p=[0.8,0.9]") == expected
    assert both("-m", "sampling.temperature=0.2,0.7", "sampling.top_p=0.8,0.9") == expected
    lines = "sweep:\n  grid:\n    sampling.temperature: [0.2, 0.7]\n    sampling: {top_p: [0.8, 0.9]}\n"
    project.write("conf/experiment/heat.yaml", HEAD + lines)
    assert both("experiment=heat") == expected


def test_a_zip_takes_values_side_by_side(project: Project) -> None:
    expected = [(0.2, 0.8), (0.7, 0.9)]
    assert both("sweep.zip={sampling.temperature:[0.2,0.7],sampling.top_p:[0.8,0.9]}") == expected
    lines = "sweep:\n  zip:\n    sampling.temperature: [0.2, 0.7]\n    sampling.top_p: [0.8, 0.9]\n"
    project.write("conf/experiment/side.yaml", HEAD + lines)
    assert both("experiment=side") == expected


def test_points_are_written_out_with_groups_and_mappings_in_them(project: Project) -> None:
    lines = (
        "sweep:\n  points:\n  - {sampling: greedy, seed: 1}\n  - {sampling: balanced, sampling.logit_bias: {5: 1.5}}\n"
    )
    project.write("conf/experiment/two.yaml", HEAD + lines)
    found = points("experiment=two")
    assert [(one.seed, one.sampling["temperature"]) for one in found] == [(1, 0), (0, 0.7)]
    assert [dict(one.sampling.get("logit_bias", {})) for one in found] == [{}, {5: 1.5}]
    assert found[1] == project.compose("sampling=balanced", "sampling.logit_bias={5:1.5}")


def test_grid_zip_points_and_the_command_line_are_crossed(project: Project) -> None:
    found = points("-m", "sweep.grid={seed:[1,2]}", "sweep.zip={sampling.top_p:[0.8,0.9],sampling.top_k:[1,2]}",
                   "sweep.points=[{concurrency:3},{concurrency:4}]", "sampling.temperature=0.1,0.2")  # fmt: skip
    seen = [(one.seed, one.sampling["temperature"], one.sampling["top_k"], one.concurrency) for one in found]
    assert seen == [(a, b, c, d) for a in (1, 2) for b in (0.1, 0.2) for c in (1, 2) for d in (3, 4)]


@pytest.mark.parametrize("where", ["sweep.grid={{sampling:{}}}", "sweep.zip={{sampling:{}}}"])
def test_groups_are_swept_by_the_names_of_their_choices(where: str, project: Project) -> None:
    found = points(where.format("[greedy,balanced]"))
    assert [one.sampling["temperature"] for one in found] == [0, 0.7]
    assert [one.choices["sampling"] for one in found] == ["greedy", "balanced"]


@pytest.mark.parametrize(
    ("said", "seeds"),
    [("range(1,4)", [1, 2, 3]), ("range(1,9,4)", [1, 5]), ("choice(4,2)", [4, 2]), ("sort(4,2)", [2, 4]),
     ("4,2", [4, 2]), ("7", [7])],
)  # fmt: skip
def test_hydras_words_are_understood_in_the_section(said: str, seeds: list[int], project: Project) -> None:
    assert [one.seed for one in points(f"sweep.grid={{seed:'{said}'}}")] == seeds


def test_the_command_line_takes_the_same_words(project: Project) -> None:
    assert [(one.seed, one.concurrency) for one in points("-m", "seed=range(1,9,4)", "concurrency=sort(4,2)")] == [
        (1, 2), (1, 4), (5, 2), (5, 4),
    ]  # fmt: skip


TEXTS = ["it's", "a, b", '"so"', "${x}", "back\\slash", "7", "null", "", "é {x: 1}"]


def test_texts_are_what_they_were_written_as(project: Project) -> None:
    lines = "".join(f"    - {as_yaml(text)}\n" for text in TEXTS)
    project.write("conf/experiment/texts.yaml", f"{HEAD}sweep:\n  grid:\n    input.text:\n{lines}")
    assert [one.input["text"] for one in points("experiment=texts")] == TEXTS


def as_yaml(text: str) -> str:
    escaped = text.replace("${", "\\${").replace("'", "''")  # `${` is a reference, to OmegaConf
    return f"'{escaped}'"


def test_what_choice_was_given_in_quotes_keeps_them(project: Project) -> None:
    found = points("-m", r"input.text=choice('it\'s','7','a, b')")
    assert [one.input["text"] for one in found] == ["it's", "7", "a, b"]


@pytest.mark.parametrize(
    ("value", "text"),
    [("greedy", "greedy"), ("a/b-c.d", "a/b-c.d"), ("7", "'7'"), ("true", "'true'"), ("1e5", "'1e5'"), (None, "null"),
     (True, "true"), (0.5, "0.5"), ([1, "a b"], "[1,'a b']"), ({"linear": {"from": 1}}, "{linear:{from:1}}")],
)  # fmt: skip
def test_a_value_is_an_override_that_reads_back_as_that_value(value: object, text: str) -> None:
    assert as_override(value) == text


def test_samples_are_drawn_by_the_seed_within_their_bounds(project: Project) -> None:
    words = ["sweep.samples=12", "sampling=greedy,balanced", "sampling.top_k=int(interval(1,40))",
             "sampling.min_p=tag(log,interval(0.001,0.1))", "-m"]  # fmt: skip
    found = points(*words)
    assert len(found) == 12
    assert {one.choices["sampling"] for one in found} == {"greedy", "balanced"}
    assert all(isinstance(one.sampling["top_k"], int) and 1 <= one.sampling["top_k"] <= 40 for one in found)
    assert all(0.001 <= one.sampling["min_p"] <= 0.1 for one in found)
    assert sum(one.sampling["min_p"] < 0.01 for one in found) in range(3, 10)  # half of them, and not a tenth
    assert points(*words) == found
    assert [one.sampling for one in points(*words, "seed=1")] != [one.sampling for one in found]


def test_samples_take_rows_of_a_zip_and_points_whole(project: Project) -> None:
    found = both("sweep.samples=12", "sweep.zip={sampling.temperature:[0.2,0.7],sampling.top_p:[0.8,0.9]}")
    assert set(found) == {(0.2, 0.8), (0.7, 0.9)}


def test_a_sweep_of_one_point_is_a_sweep(project: Project) -> None:
    assert [one.seed for one in points("sweep.grid={seed:[5]}")] == [5]
    assert [path.parent.name for path in project.root.rglob("sweep.json")] != []


def test_too_many_points_are_refused_unless_they_are_allowed(project: Project) -> None:
    words = ("sweep.grid={seed:'range(0,4)'}", "sweep.max_points=3")
    assert faults(*words) == ["sweep: there would be 4 points. Sweep over less, or allow them: sweep.max_points=4."]
    assert len(points(*words[:1], "sweep.max_points=4")) == 4


def test_faults_say_the_line_that_the_sweep_is_written_in(project: Project) -> None:
    lines = (
        'sweep:\n  grid:\n    seed: "range(1"\n    concurrency: []\n  zip:\n    sampling.top_k: 3\n  points:\n  - {}\n'
    )
    project.write("conf/experiment/bad.yaml", HEAD + lines)
    assert faults("experiment=bad") == [
        "sweep.grid.seed (conf/experiment/bad.yaml:5): 'range(1' is no sweep. Write a list, range(…), choice(…) or "
        "interval(…).",
        "sweep.grid.concurrency (conf/experiment/bad.yaml:6): there are no values. Give some, or leave the key out.",
        "sweep.zip.sampling.top_k (conf/experiment/bad.yaml:8): 3 is no list of values. Write one.",
        "sweep.points.0 (conf/experiment/bad.yaml:10): {} is no point. Write `key: value` lines.",
    ]


def test_faults_in_swept_values_say_their_line_and_their_points(project: Project) -> None:
    lines = "sweep:\n  zip:\n    sampling.top_p: [0.9, 7]\n    seed: [x, 2]\n"
    project.write("conf/experiment/bad.yaml", HEAD + lines)
    assert faults("experiment=bad") == [
        "seed (conf/experiment/bad.yaml:6, point 0): 'x' does not fit. It takes an integer.",
        "sampling.top_p (conf/experiment/bad.yaml:5, point 1): 7 does not fit. It takes a number above 0 and at most 1.",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep.gird={seed:[1]}"], "sweep.gird (command line): there is no option 'gird'. Did you mean 'grid'? "),
        (["sweep.zip={seed:[1,2],concurrency:[3]}"], "sweep.zip (command line): seed has 2, concurrency has 1, but all "
         "lists of a zip have one length. Add the values that are missing."),
        (["sweep.grid={samplin:[a]}"], "samplin (command line): there is no key 'samplin'. Did you mean 'sampling'? "),
        (["sweep.grid={sampling:[greedi]}"], "sampling (command line): there is no 'greedi'. Did you mean 'greedy'? "),
        (["-m", "seed=interval(0,9)"], "seed: an interval has no end of values. Say how many to draw: sweep.samples=20."),
        (["sweep.grid={seed:[1,2]}", "seed=3"], "seed (command line): sweep.grid and the command line both have it. "
         "Leave it out of one of them."),
        (["-m", "sweep.grid={seed:[1,2]}", "sweep.points=[{seed:3}]"], "seed (command line): sweep.grid and sweep.points "
         "both have it. Leave it out of one of them."),
        (["-m", "seed=1,2", "seed=3"], "seed: it is swept, and stands twice on the command line or in "
         "hydra.sweeper.params. Leave one out."),
        (["-m", "seed=1,2", "sweep.baseline={seed:3}"], "sweep.baseline (command line): no point has these values. Give "
         "those of one of the points."),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_said_before_the_first_file(words: list[str], message: str, project: Project) -> None:
    (said,) = faults(*words)
    assert said.startswith(message)
    assert not (project.root / "outputs").exists()


def test_the_baseline_is_the_point_with_its_values_or_the_first(project: Project) -> None:
    def baseline(*words: str) -> int:
        points("-m", "sampling=greedy,balanced", "seed=1,2", *words)
        newest = max(project.root.rglob("sweep.json"), key=lambda path: path.stat().st_mtime_ns)
        return int(json.loads(newest.read_text())["baseline"])

    assert baseline() == 0
    assert baseline("sweep.baseline={sampling:balanced}") == 2
    assert baseline("sweep.baseline={seed:2,sampling:balanced}") == 3
    assert baseline("sweep.baseline.sampling.temperature=0.7") == 2


def test_values_of_points_come_from_the_lines_of_the_file_that_sweeps_them(project: Project) -> None:
    lines = (
        "sweep:\n  grid:\n    sampling.temperature: [0.2, 0.7]\n  zip: {seed: [1, 2]}\n  points:\n"
        "    - {sampling.top_p: 0.5, concurrency: 3}\n    - {sampling.top_p: 0.6}\n"
    )
    project.write("conf/experiment/placed.yaml", HEAD + lines)
    (found, *_) = points("experiment=placed", "context=window", "context.turns=2")
    places = {
        ("sampling", "temperature"): "conf/experiment/placed.yaml:5",
        ("seed",): "conf/experiment/placed.yaml:6",
        ("sampling", "top_p"): "conf/experiment/placed.yaml",  # two lines have it
        ("concurrency",): "conf/experiment/placed.yaml:8",
        ("graph", "context", "turns"): "command line",
    }
    assert {path: found.origins[path] for path in places} == places
    (found, *_) = points("experiment=placed", "sweep.points=[{sampling.top_p: 0.4}]")
    assert found.origins["sampling", "top_p"] == "command line"
