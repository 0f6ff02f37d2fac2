"""`vllm-flow [run]` in a project: what is recorded and told of uncommitted files, and what to do next."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from vllm_flow.cli import main

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
HEAD = "# @package _global_\n"


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        (tmp_path / "conf/experiment").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"conf/experiment/{name}.yaml").write_text(f"{HEAD}# {name}.\nseed: 1\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("outputs/\n", encoding="utf-8")
    git(tmp_path, "init", "-q")
    return tmp_path


def commit(project: Path) -> str:
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    return git(project, "rev-parse", "HEAD")


def change(project: Path, names: str) -> None:
    for name in names:
        (project / f"conf/experiment/{name}.yaml").write_text(f"{HEAD}# {name}.\nseed: 2\n", encoding="utf-8")


def states(project: Path, what: str) -> list[object]:
    return [json.loads(path.read_text(encoding="utf-8"))["git"] for path in sorted(project.glob(what))]


def warnings(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("warning")]


def test_a_committed_project_is_recorded_with_its_commit_and_nothing_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = commit(project)
    assert main(["experiment=a", "engine=echo", "input.text=hi"]) == 0
    assert states(project, "outputs/runs/*/*/run.json") == [{"commit": now, "dirty": False, "changed": []}]
    assert warnings(capsys.readouterr().err) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [("b", "b.yaml"), ("abcd", "a.yaml, conf/experiment/b.yaml, conf/experiment/c.yaml and 1 more")],
)
def test_uncommitted_files_are_named_before_the_run_and_recorded(
    project: Path, capsys: pytest.CaptureFixture[str], changed: str, named: str
) -> None:
    now = commit(project)
    change(project, changed)
    assert main(["engine=echo", "input.text=hi", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["value"]["text"] == "hi"
    assert said.err.splitlines()[0] == (
        f"warning: conf/experiment/{named}: not as in commit {now[:8]}, "
        "so the run cannot be repeated from version control. Commit first."
    )
    files = [f"conf/experiment/{name}.yaml" for name in changed]
    assert states(project, "outputs/runs/*/*/run.json") == [{"commit": now, "dirty": True, "changed": files}]


def test_a_sweep_says_it_once_and_records_it_for_every_point(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = commit(project)
    change(project, "a")
    assert main(["-m", "experiment=a,b,c", "engine=echo", "input.text=hi"]) == 0
    assert len(warnings(capsys.readouterr().err)) == 1
    state = {"commit": now, "dirty": True, "changed": ["conf/experiment/a.yaml"]}
    assert states(project, "outputs/sweeps/*/*/*/run.json") == [state] * 3


def test_before_the_first_commit_there_is_none_to_repeat_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project, "a")
    for name in "bcd":
        (project / f"conf/experiment/{name}.yaml").unlink()
    assert main(["engine=echo", "input.text=hi"]) == 0
    assert warnings(capsys.readouterr().err) == [
        "warning: conf/experiment/a.yaml: not in any commit, "
        "so the run cannot be repeated from version control. Commit first."
    ]


def test_the_project_that_counts_is_the_one_that_the_files_are_read_from(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = commit(project)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("VLLM_FLOW_PROJECT", str(project))
    assert main(["engine=echo", "input.text=hi"]) == 0
    assert states(elsewhere, "outputs/runs/*/*/run.json") == [{"commit": now, "dirty": False, "changed": []}]


def test_where_nothing_is_under_version_control_nothing_is_said(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert main(["engine=echo", "input.text=hi"]) == 0
    assert warnings(capsys.readouterr().err) == []
    assert states(elsewhere, "outputs/runs/*/*/run.json") == [None]


def test_what_to_do_next_is_said_of_the_pipeline_that_ran(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{HEAD}# a.\ndefaults: [override /pipeline: story]\n"
    (project / "conf/experiment/a.yaml").write_text(text, encoding="utf-8")
    assert main(["experiment=a", "engine=echo", "input.text=hi"]) == 0
    assert "\nNext:\n  vllm-flow chat pipeline=story engine=echo\n" in capsys.readouterr().err


def test_a_pipeline_that_draws_nothing_is_not_offered_for_a_talk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pipeline=perplexity", "engine=echo", "input.text=hi"]) == 0
    assert capsys.readouterr().err.endswith(
        "Next:\n"
        '  vllm-flow pipeline=perplexity engine=echo input.text="Tell me about the sea."\n'
        "  vllm-flow check pipeline=perplexity engine=echo\n"
    )
