"""Revision: the commit that a run's files were at, so that a record says whether the run can be repeated from there.

Only the files count that decide a run: configuration, pipelines and code of the project, tracked, untracked or ignored.
The settings of one machine are not under version control, and the record holds them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vllm_flow.core.spec import RunSpec

WATCHED = {"conf": ".yaml", "pipelines": "", "stages": "", "vllm_flow": ".py"}
"""Folder of the project to the end of the names that count. In a checkout of this project its own code runs too."""
LOCAL, CACHE = "conf/local/", "/__pycache__/"
FIELDS = {"1": 8, "u": 10, "?": 1, "!": 1}
"""Fields before the path, for each kind of line that `git status --porcelain=v2` writes of a file."""
NO_COMMIT = "(initial)"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, and what was not as in it."""

    commit: str | None
    """None in a repository without commits."""
    changed: tuple[str, ...] = ()
    """Paths in the project."""


def revision_of(project: Path, files: Iterable[Path] = ()) -> Revision | None:
    """The revision of the project and of these files, where they lie in it.

    None outside a repository, without git, and when git does not answer in time: no run fails for that.
    """
    prefix = _git(project, "rev-parse", "--show-prefix")
    if prefix is None:
        return None
    code = [path.resolve() for path in files]
    named = [one.relative_to(project).as_posix() for one in code if one.is_relative_to(project)]
    how = ("--porcelain=v2", "--branch", "--untracked-files=all", "--ignored", "--no-renames", "-z")
    said = _git(project, "--literal-pathspecs", "status", *how, "--", *WATCHED, *named)
    if said is None:
        return None
    lines = [line for line in said.split("\0") if line]
    (commit,) = (line.split(" ", 2)[2] for line in lines if line.startswith("# branch.oid "))
    paths = (line.split(" ", FIELDS[line[0]])[-1] for line in lines if line[0] in FIELDS)
    inside = (path.removeprefix(prefix.rstrip("\n")) for path in paths)
    changed = sorted(path for path in inside if path in named or _counts(path))
    return Revision(None if commit == NO_COMMIT else commit, tuple(changed))


@dataclass
class Revisions:
    """Asks once for each project and its code: a sweep has many points and one project."""

    _known: dict[tuple[Path, tuple[Path, ...]], Revision | None] = field(default_factory=dict)

    def __call__(self, spec: RunSpec) -> Revision | None:
        """The revision of the project that the spec comes from, and of the code that it names."""
        key = Path(spec.project).resolve(), tuple(Path(one) for one in spec.plugins.values() if one.endswith(".py"))
        if key not in self._known:
            self._known[key] = revision_of(*key)
        return self._known[key]


def _counts(path: str) -> bool:
    folder = path.partition("/")[0]
    return path.endswith(WATCHED[folder]) and not path.startswith(LOCAL) and CACHE not in path


def _git(folder: Path, *words: str) -> str | None:
    # A repository's own settings could name a program to ask for changes, and this must run nothing.
    command = ("git", "-C", os.fspath(folder), "-c", "core.fsmonitor=false", "--no-optional-locks", *words)
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None
