"""The wheel: what a person gets who never sees the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def is_cache(path: Path) -> bool:
    return "__pycache__" in path.parts


def test_the_wheel_holds_every_configuration_and_sample(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    beside = [path for path in (ROOT / "pipelines").rglob("*") if path.is_file()]
    shipped = [*(ROOT / "conf").rglob("*.yaml"), *beside]
    assert [path for path in shipped if f"vllm_flow/_share/{path.relative_to(ROOT).as_posix()}" not in names] == []
    assert {"vllm_flow/py.typed", "vllm_flow/cli/__init__.py"} <= names
    assert "vllm_flow/_share/conf/schema.json" in names  # line 2 of every configuration leads to it
    page = [path for path in (ROOT / "vllm_flow/report/page").iterdir() if path.is_file()]
    assert page
    assert [path for path in page if path.relative_to(ROOT).as_posix() not in names] == []
    examples = [path for path in (ROOT / "vllm_flow/examples").rglob("*") if path.is_file() and not is_cache(path)]
    assert [path for path in examples if path.relative_to(ROOT).as_posix() not in names] == []
    assert not [name for name in names if name.startswith(("tests", "outputs"))]


def test_the_wheel_holds_nothing_of_the_machine_it_was_built_on(wheel: Path) -> None:
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "local" in name or "__pycache__" in name] == []


def test_the_wheel_runs_a_dialogue_from_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    """Only the wheel's own files are found, with this environment's libraries."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\nimport vllm_flow.cli\n"
        f"assert vllm_flow.__file__.startswith({str(unpacked)!r}), vllm_flow.__file__\n"
        "sys.exit(vllm_flow.cli.main(['pipeline=dialogue', 'engine=echo']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("What is the capital of France?\n")
    assert list(home.glob("outputs/runs/*/*/results.jsonl"))
