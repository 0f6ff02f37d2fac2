"""Fixtures that several test folders share."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns

import pytest

from vllm_flow.core import plugins, registry
from vllm_flow.core.errors import ModelError

ROOT = Path(__file__).parent.parent
# Read when torch is loaded, here and in every process a test starts: threads that wait for each other sleep instead of
# spinning, without which a machine that does anything else beside the tests makes them five times as slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Some surroundings forbid Python to keep what it compiled. Each of the many processes that the tests start would then
# compile the whole package again, which takes a third of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy in which this machine has settings of its own, which must not be in it."""
    copy = tmp_path_factory.mktemp("source") / "vllm-flow"
    for folder in ("vllm_flow", "conf", "pipelines"):
        copytree(ROOT / folder, copy / folder, ignore=ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        copyfile(ROOT / file, copy / file)
    (copy / "conf" / "local").mkdir(exist_ok=True)
    (copy / "conf" / "local" / "default.yaml").write_text("seed: 7\n", encoding="utf-8")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy.parent), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = copy.parent.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files apart from the checkout: first on the path, only they are found."""
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Registries that know the built-in parts alone, and forget what the test's own files register."""
    plugins.load_built_in()
    for kind in (registry.stage, registry.resource, registry.source, registry.schedule, registry.tool):
        built_in = {one.name: one for one in kind if one.cls.__module__.startswith("vllm_flow.")}
        monkeypatch.setattr(kind, "_entries", built_in)
    yield
    for name in [name for name, one in sys.modules.items() if str(tmp_path) in str(getattr(one, "__file__", ""))]:
        del sys.modules[name]


def pytest_configure() -> None:
    """A shell starts what it runs in the background with Ctrl-C ignored, and processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _pulled(name: str) -> Path | ModelError:
    from vllm_flow.models.pull import pull

    try:
        return pull(name, lambda step, done, total: None)
    except ModelError as error:
        return error


def _there(request: pytest.FixtureRequest, found: Path | ModelError) -> Path:
    """Without the package index the test is skipped; marked `full` it fails."""
    if isinstance(found, Path):
        return found
    if request.node.get_closest_marker("full"):
        pytest.fail(str(found))
    pytest.skip(str(found))


@pytest.fixture(scope="session")
def _smollm2() -> Path | ModelError:
    return _pulled("smollm2")


@pytest.fixture(scope="session")
def _minilm() -> Path | ModelError:
    return _pulled("minilm")


@pytest.fixture(scope="session")
def _whisper() -> Path | ModelError:
    return _pulled("whisper-tiny.en")


@pytest.fixture
def smollm2(request: pytest.FixtureRequest, _smollm2: Path | ModelError) -> Path:
    """The folder with the packaged SmolLM2."""
    return _there(request, _smollm2)


@pytest.fixture
def minilm(request: pytest.FixtureRequest, _minilm: Path | ModelError) -> Path:
    """The folder with the packaged MiniLM, which embeds sentences."""
    return _there(request, _minilm)


@pytest.fixture
def whisper(request: pytest.FixtureRequest, _whisper: Path | ModelError) -> Path:
    """The folder with the packaged Whisper, which writes down English speech."""
    return _there(request, _whisper)


def pytest_collection_finish() -> None:
    """What is imported by now stays: looked through for garbage again and again, it takes a tenth of the time."""
    gc.collect()
    gc.freeze()
