"""The revision: the commit of a project, and which of the files that decide its runs are not as in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vllm_flow.core import revision
from vllm_flow.core.revision import Revision, revision_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write(folder: Path, *names: str, text: str = "") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder of a repository, everything committed but what is to be ignored."""
    folder = tmp_path.resolve() / "repository" / "my project"
    write(folder, "conf/experiment/a.yaml", "conf/schema.json", "pipelines/a.yaml", "pipelines/a.jsonl", "stages/a.py")
    write(folder, "conf/local/default.yaml", "stages/__pycache__/a.pyc", "README.md", "lib/b.py")
    write(folder, ".gitignore", text="conf/local/\n__pycache__/\n*.secret.yaml\n")
    git(folder.parent.parent, "init", "-q", "repository")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_committed_project_is_at_its_commit_with_nothing_changed(project: Path) -> None:
    assert revision_of(project) == Revision(git(project, "rev-parse", "HEAD"), ())


@pytest.mark.parametrize(
    "name",
    [
        "conf/experiment/a.yaml", "conf/model/new.yaml", "pipelines/a.jsonl", "stages/new folder/b.py",
        "conf/it is.secret.yaml", "stages/wéird\nname.py", "vllm_flow/stages/a.py",
    ],
)  # fmt: skip
def test_what_decides_a_run_counts_tracked_untracked_or_ignored(project: Path, name: str) -> None:
    write(project, name, text="changed")
    found = revision_of(project)
    assert found is not None
    assert found.changed == (name,)


def test_a_file_taken_away_or_staged_is_not_as_committed_either(project: Path) -> None:
    (project / "stages/a.py").unlink()
    write(project, "stages/b.py", text="x")
    git(project, "add", "stages/b.py")
    git(project, "mv", "pipelines/a.yaml", "pipelines/b.yaml")
    found = revision_of(project)
    assert found is not None
    assert found.changed == ("pipelines/a.yaml", "pipelines/b.yaml", "stages/a.py", "stages/b.py")


def test_files_in_conflict_count(project: Path) -> None:
    git(project, "checkout", "-qb", "other")
    write(project, "stages/a.py", text="one")
    git(project, "commit", "-qam", "one")
    git(project, "checkout", "-q", "-")
    write(project, "stages/a.py", text="two")
    git(project, "commit", "-qam", "two")
    with pytest.raises(subprocess.CalledProcessError):
        git(project, "merge", "-q", "other")
    found = revision_of(project)
    assert found is not None
    assert found.changed == ("stages/a.py",)


def test_nothing_else_counts(project: Path) -> None:
    changed = "changed"
    write(project, "README.md", "notes.txt", "conf/schema.json", "conf/local/default.yaml", "lib/b.py", text=changed)
    write(project, "stages/__pycache__/a.pyc", "outputs/runs/a/config.yaml", "../other/conf/a.yaml", text=changed)
    found = revision_of(project)
    assert found is not None
    assert found.changed == ()


def test_code_that_a_configuration_names_counts_where_it_lies_in_the_project(project: Path, tmp_path: Path) -> None:
    write(project, "lib/b.py", text="changed")
    write(tmp_path, "outside.py")
    found = revision_of(project, [project / "lib/b.py", tmp_path / "outside.py"])
    assert found is not None
    assert found.changed == ("lib/b.py",)


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "conf/a.yaml", "conf/b.yaml")
    assert revision_of(tmp_path) == Revision(None, ("conf/a.yaml", "conf/b.yaml"))


def test_outside_a_repository_there_is_none(tmp_path: Path) -> None:
    assert revision_of(tmp_path) is None


def test_without_git_there_is_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert revision_of(project) is None


def test_a_slow_git_is_not_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "TIMEOUT_S", 0)
    assert revision_of(project) is None


def test_a_program_that_a_repository_names_is_not_run(project: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n", encoding="utf-8")
    program.chmod(0o700)
    git(project, "config", "core.fsmonitor", str(program))
    assert revision_of(project) is not None
    assert not (tmp_path / "ran").exists()
