"""What runs to replay are made of: stages whose code a test can change under a record, rows, and edits of a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_flow.core.messages import system
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Clock
from vllm_flow.core.values import Completion, Context, Prompt, Turn


@dataclass
class Code:
    """What the stages below do; changing it stands for another version of their code."""

    greeting: str = "It is"
    ending: str = ""
    questions: int = 1


CODE = Code()


@stage("test/dated")
@dataclass(frozen=True)
class Dated:
    """The history, and before it the time."""

    def run(self, turn: Turn, context: Context, clock: Clock) -> Prompt:
        said = " ".join(clock.now().strftime("%H:%M:%S.%f %Z") for _ in range(CODE.questions))
        return Prompt((system(f"{CODE.greeting} {said}"), *context.messages, turn.message))


@stage("test/ending")
@dataclass(frozen=True)
class Ending:
    """The reply with something at its end."""

    def run(self, reply: Completion) -> Completion:
        return Completion(reply.text + CODE.ending, reply.token_ids, reply.finish_reason, reply.usage)


DATED = """# @package _global_
# Talk, knowing the time.
defaults: [dialogue, _self_]
graph:
  prompt: {use: test/dated}
  ended: {use: test/ending}
output: ended
"""
TINY = (
    "model=custom", "model.architecture.hidden_size=32", "engine.dtype=float32", "sampling.temperature=1.0",
    "sampling.max_tokens=12", "sampling.min_tokens=8",
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What one call of the command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def newest(root: Path = Path("outputs")) -> Path:
    """The folder of the run that was started last."""
    return max(root.rglob("run.json"), key=lambda file: file.stat().st_mtime_ns).parent.resolve()


def write_rows(*texts: str, name: str = "rows.jsonl") -> str:
    """A file with a turn for each text, all of one conversation."""
    rows = (json.dumps({"conversation": "a", "text": text}) + "\n" for text in texts)
    Path(name).write_text("".join(rows), encoding="utf-8")
    return f"input.path={name}"


def edit(file: Path, change: Callable[[int, dict[str, Any]], object]) -> None:
    """Change the rows of a file in place."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for place, row in enumerate(rows):
        change(place, row)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
