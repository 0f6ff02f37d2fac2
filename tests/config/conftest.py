"""A user's project folder, empty at first, in which the command is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from vllm_flow.config import compose
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.spec import RunSpec


@dataclass(frozen=True)
class Project:
    root: Path

    def write(self, path: str, text: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def pipeline(self, name: str, text: str) -> None:
        """A pipeline with these lines, and an empty sample beside it."""
        self.write(f"pipelines/{name}.yaml", f"# @package _global_\n{text}")
        self.write(f"pipelines/{name}.jsonl", "")

    def compose(self, *overrides: str) -> RunSpec:
        return compose(overrides)

    def faults(self, *overrides: str) -> list[str]:
        """What composing says is wrong, one line each."""
        with pytest.raises(ConfigError) as caught:
            compose(overrides)
        return str(caught.value).splitlines()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path.resolve())
