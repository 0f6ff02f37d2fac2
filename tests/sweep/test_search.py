"""A search: the best point is found, an interrupted search goes on as it would have, and what cannot be is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main
from vllm_flow.evaluation.objective import mean_score

ROOT = Path(__file__).parent.parent.parent
STAGES = '''
import os
from dataclasses import dataclass
from pathlib import Path

from vllm_flow import SamplingPlan, Score, Turn, stage


@stage("score/peak")
@dataclass(frozen=True)
class Peak:
    """Best at a temperature of 0.7 and a top_k of 20; at a temperature above 1.5 there is none."""

    def run(self, sampling: SamplingPlan, turn: Turn) -> Score:
        if Path("kill").exists() and len(list(Path("out").glob("*/run.json"))) > 12:
            os._exit(9)
        if sampling.numbers.temperature > 1.5:
            raise ValueError("too hot")
        return Score(1 - (sampling.numbers.temperature - 0.7) ** 2 - ((sampling.numbers.top_k or 20) - 20) ** 2 / 1000)
'''
PIPELINE = "# @package _global_\n# A score.\ngraph:\n  score: {use: score/peak}\noutput: score\n"
ROW = '{"id": "a", "messages": [{"role": "user", "content": "hi"}]}\n'
COMMAND = ["engine=echo", "pipeline=peak", "hydra.sweep.dir=out", "-m"]
needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    files = {"stages/peak.py": STAGES, "pipelines/peak.yaml": PIPELINE, "pipelines/peak.jsonl": ROW}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def found(folder: str = "out") -> dict[str, Any]:
    return dict(json.loads(Path(folder, "search.json").read_text(encoding="utf-8")))


def index(folder: str = "out") -> dict[str, Any]:
    return dict(json.loads(Path(folder, "sweep.json").read_text(encoding="utf-8")))


@needs_optuna
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_optimum_is_found(sampler: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sampling.temperature=interval(0.1,1.4)", "sweep.search.trials=30", f"sweep.search.sampler={sampler}"]
    assert main([*COMMAND, *words]) == 0
    best = found()["ranked"][0]
    (line,) = best["overrides"]
    assert abs(float(line.partition("=")[2]) - 0.7) < 0.05
    assert best["value"] == mean_score(Path("out", best["point"]))
    assert (found()["done"], len(index()["points"]), index()["status"]) == (30, 30, "finished")
    values = [one["value"] for one in found()["ranked"]]
    assert values == sorted(values, reverse=True)
    title = f"sampling.temperature={line.partition('=')[2]}"
    assert f"30 of 30 trials; best score {best['value']:.6g}: {title} in out/{best['point']}" in capsys.readouterr().err


@needs_optuna
def test_an_experiment_holds_a_search_over_ranges_choices_zips_and_groups() -> None:
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/look.yaml").write_text(
        "# @package _global_\n# A search.\ndefaults: [override /pipeline: peak, override /engine: echo]\nsweep:\n"
        "  grid: {sampling: [plain, balanced], sampling.top_k: 'range(10,31)', seed: [3]}\n"
        "  zip: {concurrency: [1, 2], sampling.top_p: [0.5, 1.0]}\n"
        "  search: {trials: 6, batch: 3, direction: minimize}\n",
        encoding="utf-8",
    )
    assert main(["experiment=look", "hydra.sweep.dir=out"]) == 0
    rows = found()["ranked"]
    assert [one["value"] for one in rows] == sorted(one["value"] for one in rows)
    for row in rows:
        said = dict(line.lstrip("+").split("=") for line in row["overrides"])
        assert said["sampling"] in ("plain", "balanced")
        assert 10 <= int(said["sampling.top_k"]) <= 30
        assert (said["concurrency"], said["sampling.top_p"]) in [("1", "0.5"), ("2", "1.0")]
    assert len(index()["points"]) == 6
    assert all("++seed=3" in point["overrides"] for point in index()["points"])


@needs_optuna
def test_a_metric_of_the_configuration_is_searched_by_as_it_says() -> None:
    Path("rows.jsonl").write_text('{"id": "a", "messages": [{"role": "user", "content": "one two three four"}]}\n')
    words = [
        "input.path=rows.jsonl",
        "sampling.max_tokens=range(1,5)",
        "sweep.search={trials:8,batch:8,sampler:random}",
    ]
    command = ["engine=echo", "-m", *words]
    assert main([*command, "hydra.sweep.dir=less", "sweep.search.metric=truncated"]) == 0
    assert main([*command, "hydra.sweep.dir=more", "sweep.search.metric=words", "sweep.search.direction=maximize"]) == 0
    assert (found("less")["direction"], found("more")["direction"]) == ("minimize", "maximize")
    for row in found("more")["ranked"]:
        answer = json.loads(Path("more", row["point"], "results.jsonl").read_text())["value"]["text"]
        assert row["value"] == len(answer.split())
    cut = [row["value"] for row in found("less")["ranked"]]
    assert cut == sorted(cut)
    assert set(cut) == {0.0, 1.0}


@needs_optuna
def test_points_that_fail_are_failed_trials_and_the_search_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "sampling.temperature=1.0,2.0", "sweep.search={trials:6,batch:3,sampler:random}"]) == 1
    values = {one["overrides"][0]: one["value"] for one in found()["ranked"]}
    assert values == {"++sampling.temperature=1.0": pytest.approx(0.91), "++sampling.temperature=2.0": None}
    assert found()["done"] == 6


@needs_optuna
def test_a_search_that_was_killed_goes_on_as_it_would_have(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sampling.temperature=interval(0.1,1.4)",
        "sampling.top_k=range(10,31)",
        "sweep.search={trials:24,batch:8}",
    ]
    assert main([*COMMAND[:2], "hydra.sweep.dir=whole", "-m", *words]) == 0
    Path("kill").touch()
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "vllm_flow", *COMMAND, *words]
    assert (
        subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False).returncode == 9
    )
    Path("kill").unlink()
    assert (found()["done"], len(index()["points"]), index()["status"]) == (8, 16, "running")
    assert main(["resume", "out"]) == 0
    assert found() == found("whole")
    assert found()["done"] == 24
    assert index()["status"] == "finished"
    assert [one["overrides"] for one in index()["points"]] == [one["overrides"] for one in index("whole")["points"]]
    assert "best score" in capsys.readouterr().err
    assert main(["resume", "out"]) == 0
    assert "out: nothing is left to do." in capsys.readouterr().err


@needs_optuna
def test_a_search_does_not_go_on_with_another_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sampling.temperature=interval(0.1,1.4)", "sweep.search={trials:4,batch:4}"]
    assert main([*COMMAND, *words]) == 0
    capsys.readouterr()
    assert main([*COMMAND, *words, "sweep.search.trials=8", "seed=1"]) == 1
    out = Path("out").absolute()
    assert capsys.readouterr().err == (
        f"vllm-flow: {out}: a search goes on only with the configuration that it began with. Begin another, in another "
        "folder.\n"
    )
    assert main([*COMMAND, *words, "sweep.search.trials=8"]) == 0
    assert (found()["done"], len(index()["points"])) == (8, 8)


@needs_optuna
def test_sweeps_can_share_the_trials_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sampling.temperature=interval(0.1,1.4)", "sweep.search.storage=shared.journal"]
    assert main([*COMMAND, *words, "sweep.search.trials=5"]) == 0
    again = [*COMMAND[:2], "hydra.sweep.dir=more", "-m"]
    assert main([*again, *words, "sweep.search.trials=9"]) == 0
    assert [len(index(folder)["points"]) for folder in ("out", "more")] == [5, 4]
    assert (found("more")["done"], len({str(one["overrides"]) for one in found("more")["ranked"]})) == (9, 9)
    capsys.readouterr()
    other = ["sampling.temperature=interval(0.1,1.3)", words[1]]
    assert main([*COMMAND[:2], "hydra.sweep.dir=third", "-m", *other]) == 2
    assert capsys.readouterr().err == (
        "sweep.search.storage (command line): the file holds trials of another search: its keys, metric or direction "
        "differ. Name another file.\n"
    )


@needs_optuna
def test_without_a_value_there_is_nothing_to_go_by(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "input.text=hi",
        "sampling.temperature=interval(0.1,1.4)",
        "sweep.search.trials=20",
        "sweep.search.batch=2",
    ]
    assert main(["engine=echo", "hydra.sweep.dir=out", "-m", *words]) == 1
    out = Path("out").absolute()
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"vllm-flow: {out}: no point has a value of 'score', so there is nothing to go by. Choose a pipeline whose "
        "output is a score, or name a metric: sweep.search.metric=…."
    )
    assert len(index()["points"]) == 2


@needs_optuna
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=1", "sweep.search.trials=3"], "sweep.search: there is nothing to search. Sweep over "
         "something: sampling.temperature=interval(0,1)."),
        (["seed=1,2", "sweep.search.metric=scor"], "sweep.search.metric (command line): there is no metric 'scor'. Did you "
         "mean 'score'? There are: characters, repetition, score, seconds, tokens, truncated, ttft_s, words."),
        (["seed=1,2", "sweep.search.metric=words"], "sweep.search.direction: whether 'words' is to be high or low is for you "
         "to say: maximize or minimize."),
        (["seed=1,2", "sweep.search.trials=2000"], "sweep.search.trials (command line): there would be 2000 points. Search "
         "less, or allow them: sweep.max_points=2000."),
        (["seed=1,2", "sweep.search.trials=0"], "sweep.search.trials (command line): 0 does not fit. It takes an integer "
         "of 1 or more."),
        (["seed=1,2", "sweep.search.trials=2", "sweep.samples=3"], "sweep.samples (command line): points are drawn or "
         "searched, and not both. Leave it or sweep.search out."),
        (["seed=1,2", "sweep.search.trials=2", "sweep.baseline={seed:1}"], "sweep.baseline (command line): a search does "
         "not know its points beforehand. Leave it out."),
        (["sampling.top_p=interval(0.5,1.5)", "sweep.search.trials=2"], "sampling.top_p (command line, point 1): 1.5 does "
         "not fit. It takes a number above 0 and at most 1."),
        (["sampling.top_p=interval(1,0.5)", "sweep.search.trials=2"], "sampling.top_p: the low end of an interval stands "
         "first, above 0 if it is to be drawn on a log scale."),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_said_before_the_first_file(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, *words]) == 2
    assert capsys.readouterr().err == f"{message}\n"
    assert not Path("out").exists()


@pytest.mark.skipif(find_spec("optuna") is not None, reason="optuna is installed")
def test_without_optuna_the_way_to_install_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "seed=1,2", "sweep.search.trials=2"]) == 2
    assert capsys.readouterr().err == (
        "sweep.search: the package optuna is not installed. Install it: pip install 'vllm-flow[optuna]'.\n"
    )
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("lines", "mean"),
    [
        (['{"value": {"value": 0.5}}', '{"value": {"value": 1}}'], 0.75),
        (['{"value": {"value": 0.5}}', '{"value": null}'], None),
        (['{"value": {"text": "hi"}}'], None),
        (['{"value": {"value": "high"}}'], None),
        ([], None),
    ],
)
def test_a_point_has_a_value_if_every_turn_has_a_score(lines: list[str], mean: float | None, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert mean_score(tmp_path) == mean


def test_a_point_without_results_has_no_value(tmp_path: Path) -> None:
    assert mean_score(tmp_path) is None
