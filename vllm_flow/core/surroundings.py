"""Surroundings: what a run can depend on besides its configuration: code, versions, machine. For its record."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vllm_flow import __version__
from vllm_flow.core.revision import Revision
from vllm_flow.core.spec import RunSpec

VERSIONS = ("torch", "transformers", "hydra-core", "omegaconf", "numpy", "apsw")


def surroundings(spec: RunSpec, revision: Revision | None) -> dict[str, Any]:
    """As JSON values."""
    return {
        "pid": os.getpid(),
        "directory": os.getcwd(),
        "git": git_state(revision),
        "code": code_of(spec),
        "versions": versions(),
        "platform": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that can change an answer; read without importing them."""
    found = {name: version for name in VERSIONS if (version := _version(name))}
    return {"python": sys.version.split()[0], "vllm-flow": __version__, **found}


@cache  # a sweep has many records
def _version(name: str) -> str:
    """Empty where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return ""


def code_of(spec: RunSpec) -> dict[str, str]:
    """SHA-256 of each Python file of the user's own that the spec names."""
    files = [Path(one) for one in spec.plugins.values() if one.endswith(".py")]
    return {one.as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in files if one.is_file()}


def git_state(revision: Revision | None) -> dict[str, Any] | None:
    """The state of the project as a record has it; None where there is none."""
    if revision is None:
        return None
    return {"commit": revision.commit, "dirty": bool(revision.changed), "changed": list(revision.changed)}


def unsteady(facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Engines that do not promise the same answer twice, and why."""
    for resource, told in facts.items():
        reasons = []
        if told.get("deterministic") is False:
            reasons.append("its numbers may depend on what else is in flight")
        if told.get("batch_invariant") is False:
            reasons.append("an answer may depend on the requests beside it")
        if told.get("seeded", "exactly") != "exactly":
            reasons.append(f"seeds are honoured: {told['seeded']}")
        if reasons:
            yield f"{resource} is not deterministic: {'; '.join(reasons)}"
