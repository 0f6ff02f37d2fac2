"""The wheel: what a person gets who never sees the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = place.glob("*.whl")
    return found


def test_the_wheel_holds_every_configuration_and_sample(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "pipelines").iterdir()]
    assert [path for path in shipped if f"vllm_flow/_share/{path.relative_to(ROOT).as_posix()}" not in names] == []
    assert {"vllm_flow/py.typed", "vllm_flow/cli/__init__.py"} <= names
    assert "vllm_flow/_share/conf/schema.json" in names  # line 2 of every configuration leads to it
    assert not [name for name in names if name.startswith(("tests", "outputs"))]


def test_the_wheel_runs_a_dialogue_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Unpacked apart from the checkout: only the wheel's own files are found, with this environment's libraries."""
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\nimport vllm_flow.cli\n"
        f"assert vllm_flow.__file__.startswith({str(site)!r}), vllm_flow.__file__\n"
        "sys.exit(vllm_flow.cli.main(['pipeline=dialogue', 'engine=echo']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("What is the capital of France?\n")
    assert list(home.glob("outputs/runs/*/*/results.jsonl"))
