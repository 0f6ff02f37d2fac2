"""Runs through Hydra: each job in its folder, one or many, and every failure is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from vllm_flow.config import run_jobs
from vllm_flow.core.errors import ConfigError, StoreError, told
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.points import Outcome, Point
from vllm_flow.sweep.settings import Sweep

from .conftest import Project


class Kept:
    """Work that writes what it was given into each point's folder."""

    def __init__(self) -> None:
        self.jobs: list[tuple[RunSpec, Path]] = []
        self.batches: list[int] = []

    def __call__(self, points: Sequence[Point], sweep: Sweep) -> list[Outcome]:
        self.batches.append(len(points))
        return [self.one(point) for point in points]

    def one(self, point: Point) -> Outcome:
        seed = point.spec.seed
        self.jobs.append((point.spec, point.folder))
        (point.folder / "seed.txt").write_text(str(seed))
        error = {3: StoreError("the disk is full"), 4: ValueError("no good")}.get(seed)
        return Outcome(point.folder, point.overrides, "failed" if error else "finished", error=error)


def written(root: Path) -> str:
    """Everything on disk below a folder."""
    return "\n".join(path.read_text() for path in root.rglob("*") if path.is_file())


def test_one_run_has_a_folder_with_its_configuration(project: Project) -> None:
    task = Kept()
    run_jobs(["seed=2", "input.text=Hi, how's it?"], task)
    [(spec, folder)] = task.jobs
    assert folder.relative_to(project.root).parts[:2] == ("outputs", "runs")
    assert folder.name[8:].startswith("-dialogue-smollm2-")
    assert sorted(path.name for path in folder.iterdir()) == [".hydra", "seed.txt"]
    assert spec == project.compose("seed=2", "input.text=Hi, how's it?")
    assert dict(spec.origins) == dict(project.compose("seed=2", "input.text=Hi, how's it?").origins)


def test_flags_may_stand_anywhere_and_every_combination_is_a_job(project: Project) -> None:
    task = Kept()
    run_jobs(["pipeline=story", "-m", "seed=1,2", "sampling=greedy,balanced", "input.text=one, two"], task)
    assert [(spec.seed, spec.sampling["temperature"]) for spec, _ in task.jobs] == [(1, 0), (1, 0.7), (2, 0), (2, 0.7)]
    assert {spec.input["text"] for spec, _ in task.jobs} == {"one, two"}
    assert [folder.name for _, folder in task.jobs] == ["0", "1", "2", "3"]
    assert [(folder / "seed.txt").read_text() for _, folder in task.jobs] == ["1", "1", "2", "2"]
    assert len({folder.parent for _, folder in task.jobs}) == 1
    assert task.jobs[0][0].origin(("seed",)) == "command line"


def test_every_job_of_a_sweep_is_what_it_is_alone(project: Project) -> None:
    task = Kept()
    run_jobs(["-m", "sampling.temperature=0.2,0.7", "input.text=choice('a','b, c')"], task)
    alone = [project.compose(f"sampling.temperature={t}", f"input.text={x}") for t in (0.2, 0.7) for x in ("a", "b, c")]
    assert [spec for spec, _ in task.jobs] == alone


def test_an_experiment_can_be_a_sweep(project: Project) -> None:
    project.write(
        "conf/experiment/heat.yaml",
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: "
        "{sampling.top_k: '1,2', input.text: \"choice('a, b')\"}}}\n",
    )
    task = Kept()
    run_jobs(["experiment=heat"], task)
    assert [spec.sampling["top_k"] for spec, _ in task.jobs] == [1, 2]
    assert {spec.input["text"] for spec, _ in task.jobs} == {"a, b"}


def test_points_come_in_batches_and_every_failure_is_in_an_outcome(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    task = Kept()
    outcomes = run_jobs(["-m", "seed=1,3,4,5", "hydra.sweeper.max_batch_size=3"], task)
    assert [spec.seed for spec, _ in task.jobs] == [1, 3, 4, 5]
    assert task.batches == [3, 1]
    sweep = task.jobs[0][1].parent
    assert [str(one) for one in outcomes] == [
        f"{sweep}/0 (seed=1): finished",
        f"{sweep}/1 (seed=3): the disk is full",
        f"{sweep}/2 (seed=4): ValueError: no good",
        f"{sweep}/3 (seed=5): finished",
    ]
    assert json.loads((sweep / "sweep.json").read_text())["status"] == "failed"
    assert capfd.readouterr() == ("", "")


def test_the_failure_of_a_single_run_is_in_its_outcome(project: Project) -> None:
    assert [told(one.error) for one in run_jobs(["seed=3"], Kept()) if one.error] == ["the disk is full"]
    assert [told(one.error) for one in run_jobs(["seed=4"], Kept()) if one.error] == ["ValueError: no good"]


def test_faults_of_any_point_come_before_the_first_file_and_say_which_point_has_them(project: Project) -> None:
    task = Kept()
    with pytest.raises(ConfigError) as caught:
        run_jobs(["-m", "concurrency=8,0,-1", "seed=x"], task)
    assert str(caught.value).splitlines() == [
        "seed (command line): 'x' does not fit. It takes an integer.",
        "concurrency (command line, point 1): 0 does not fit. It takes an integer of 1 or more.",
        "concurrency (command line, point 2): -1 does not fit. It takes an integer of 1 or more.",
    ]
    assert task.jobs == []
    assert not (project.root / "outputs").exists()


def test_a_long_line_of_overrides_is_shortened_in_messages(project: Project) -> None:
    outcomes = run_jobs(["-m", "seed=3,4", f"input.text={'word ' * 60}"], Kept())
    assert str(outcomes[0]).endswith(" word …): the disk is full")


@pytest.mark.parametrize(
    "arguments",
    [["seed=abc"], ["model.token=sk-very-secret"], ["-m", "model.token=sk-very-secret,x"], ["tempratur=1"],
     ["pipeline=secretive"], ["-m", "seed=1,2", "pipeline=secretive"]],
)  # fmt: skip
def test_a_fault_comes_before_the_first_file(arguments: list[str], project: Project) -> None:
    project.pipeline("secretive", "graph:\n  a: {use: x/y, api_key: sk-very-secret}\noutput: a\n")
    with pytest.raises(ConfigError) as caught:
        run_jobs(arguments, Kept())
    assert not (project.root / "outputs").exists()
    assert "sk-very-secret" not in str(caught.value)


def test_no_file_of_a_run_holds_a_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "sk-very-secret")
    task = Kept()
    run_jobs(["-m", "model=qwen", "model.token=${secret:MY_TOKEN}", "seed=1,2"], task)
    assert {spec.resources["engine"]["model"]["token"] for spec, _ in task.jobs} == {"${secret:MY_TOKEN}"}
    saved = written(project.root / "outputs")
    assert "${secret:MY_TOKEN}" in saved
    assert "sk-very-secret" not in saved


def test_the_loggers_of_the_program_are_left_as_they_were(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    root, own = logging.getLogger(), logging.getLogger("vllm_flow")
    before = (list(root.handlers), root.level, list(own.handlers), own.level)
    run_jobs(["-m", "seed=1,2"], Kept())
    assert (list(root.handlers), root.level, list(own.handlers), own.level) == before
    assert capfd.readouterr().out == ""


def test_the_composed_configuration_is_shown_and_nothing_runs(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Kept()
    run_jobs(["pipeline=story", "--cfg", "job", "model=qwen", "model.token=${secret:A}", "--resolve"], task)
    shown = capsys.readouterr().out
    assert "use: fuse/chat" in shown
    assert "token: ${secret:A}" in shown
    assert "hydra:" not in shown
    run_jobs(["--cfg", "hydra", "-p", "hydra.job"], task)
    assert "name: vllm-flow" in capsys.readouterr().out
    assert task.jobs == []
    assert not (project.root / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--multrun"], "--multrun: there is no flag '--multrun'. Did you mean '--multirun'? There are: --cfg, --help, "
         "--hydra-help, --info, --json, --multirun, --package, --resolve, --run, --shell-completion."),
        (["--josn"], "--josn: there is no flag '--josn'. Did you mean '--json'? There are: --cfg, --help, --hydra-help, "
         "--info, --json, --multirun, --package, --resolve, --run, --shell-completion."),
        (["--cfg", "jb"], "--cfg: 'jb' does not fit. It takes one of: job, hydra, all."),
        (["--cfg", "job", "-p"], ("-p: a package is missing. Write --package graph, or another part of "
"the configuration.")),
        (["-cd", "x"], "-cd: files are read from the project folder only. Put them into its conf/."),
        (["--config-name=x"], "--config-name: there is one primary configuration. Choose with pipeline=NAME or "
         "experiment=NAME."),
        (["--experimental-rerun", "x"], "--experimental-rerun: it would unpickle a file. Give the overrides of the run "
         "again."),
    ],
)  # fmt: skip
def test_flags_that_are_not_for_our_users_are_refused(arguments: list[str], message: str, project: Project) -> None:
    with pytest.raises(ConfigError) as caught:
        run_jobs(arguments, Kept())
    assert str(caught.value) == message


def test_a_stop_by_the_user_ends_everything_and_the_index_says_so(project: Project) -> None:
    def stopped(points: Sequence[Point], sweep: Sweep) -> list[Outcome]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(["-m", "seed=1,2"], stopped)
    (index,) = (project.root / "outputs").rglob("sweep.json")
    assert json.loads(index.read_text())["status"] == "interrupted"
