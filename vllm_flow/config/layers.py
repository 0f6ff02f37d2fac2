"""Layers: the folders a configuration is read from. The user's project stands before the shipped files.

A layer is a folder with `conf/`, `pipelines/` and, in a project, `stages/`. The group `pipeline` is read from
`pipelines/`, every other group from `conf/`; `shipped/<path>` names the shipped file, so that a project's file can
extend the one it stands before. `conf/local/default.yaml` is the word of one machine, and nobody chooses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vllm_flow.core.errors import ConfigError, Fault, listed

PRIMARY = "config"
PROJECT, SHIPPED, LOCAL = "project", "shipped", "local"
FOLDERS = ("conf", "pipelines", "stages")
"""A folder with one of these is a project."""
VARIABLE = "VLLM_FLOW_PROJECT"
TOP_FOLDERS = {"pipeline": "pipelines"}
_project: ContextVar[Path | None] = ContextVar("project", default=None)


@dataclass(frozen=True, slots=True)
class Layer:
    """One folder of configuration files."""

    name: str
    root: Path

    def folder(self, group: str) -> Path | None:
        """Where the files of a group lie, whether they exist or not; None for a group that is no part of the layer."""
        parts = [part for part in group.split("/") if part]
        if parts[:1] == [SHIPPED]:
            if self.name != SHIPPED:
                return None
            parts = parts[1:]
        if parts and parts[0] in TOP_FOLDERS:
            return self.root.joinpath(TOP_FOLDERS[parts[0]], *parts[1:])
        return self.root.joinpath("conf", *parts)

    def file(self, config_path: str) -> Path | None:
        """The existing file that Hydra knows as `group/choice`, or None."""
        group, _, name = config_path.removesuffix(".yaml").strip("/").rpartition("/")
        folder = self.folder(group)
        if not name or folder is None or ".." in PurePosixPath(config_path).parts:
            return None
        if group == LOCAL and self.root != project_root():
            return None  # a machine's settings belong to the project they lie in, and to no other
        path = folder / f"{name}.yaml"
        if not path.is_file() or (self.name == PROJECT and (group, name) == ("", PRIMARY) and foreign(path)):
            return None
        return path

    def label(self, path: Path) -> str:
        """How messages name a file: its path inside the layer."""
        return path.relative_to(self.root).as_posix()


def foreign(primary: Path) -> bool:
    """Any folder may hold another program's conf/config.yaml: one meant for us extends the shipped one."""
    return b"/shipped/config" not in primary.read_bytes()


def is_late(config_path: str) -> bool:
    """An experiment, and the machine: they change what a project's conf/config.yaml says, whose `_self_` comes last."""
    return config_path.removeprefix(f"{SHIPPED}/").partition("/")[0] in ("experiment", LOCAL)


def shipped_root() -> Path:
    """The folder of the shipped files: inside the package in a wheel, the repository in a checkout."""
    package = Path(__file__).resolve().parent.parent
    share = package / "_share"
    return share if (share / "conf").is_dir() else package.parent


def project_root() -> Path:
    """The user's folder: what `in_project` says, or VLLM_FLOW_PROJECT, or where the command was started."""
    if (chosen := _project.get()) is not None:
        return chosen
    return Path(os.environ.get(VARIABLE) or Path.cwd()).resolve()


def is_project(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in FOLDERS)


@contextmanager
def in_project(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Take this folder for the project's while the block runs; None changes nothing. Raises ConfigError."""
    chosen = _project.get() if folder is None else Path(folder).expanduser().resolve()
    if chosen is not None and not chosen.is_dir():
        raise ConfigError([Fault("project", f"there is no folder {chosen}. Name the one with conf/ or pipelines/.")])
    token = _project.set(chosen)
    try:
        yield
    finally:
        _project.reset(token)


def layers() -> tuple[Layer, ...]:
    """The layers in the order in which they are asked for a file. Raises ConfigError when VLLM_FLOW_PROJECT is none."""
    shipped, project = shipped_root(), project_root()
    if _project.get() is None and os.environ.get(VARIABLE) and not is_project(project):
        problem = f"{project} is no project: it has none of the folders {listed(FOLDERS)}. Name one that has."
        raise ConfigError([Fault(VARIABLE, problem, "environment")])
    below = (Layer(SHIPPED, shipped),)
    if project == shipped or not is_project(project):
        return below
    return (Layer(PROJECT, project), *below)


def beside(name: str) -> str:
    """`${beside:support}`: a file or folder that stands beside the pipelines, the project's first.

    Where there is none, it is where the project's would be.
    """
    folders = [folder for layer in layers() if (folder := layer.folder("pipeline")) is not None]
    return os.fspath(next((folder / name for folder in folders if (folder / name).exists()), folders[0] / name))


def sample_input(pipeline: str) -> Path | None:
    """The sample rows beside a pipeline, the project's first; None when there are none."""
    folders = (layer.folder("pipeline") for layer in layers())
    paths = (folder / f"{pipeline}.jsonl" for folder in folders if folder is not None)
    return next((path for path in paths if path.is_file()), None)
