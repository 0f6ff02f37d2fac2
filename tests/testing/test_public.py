"""What an author of plugins may rely on: the names, that importing them is light, and that nothing else is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from vllm_flow import testing

SCRIPT = '''
import sys
from dataclasses import dataclass

from vllm_flow.testing import EchoEngine, MemoryStore, check_engine, check_stage, check_store, completion

print(*sorted({"torch", "transformers", "hydra", "omegaconf", "pytest"} & set(sys.modules)), "no more")
assert False, "under -O this is not run"

from vllm_flow.core.registry import resource, stage
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.messages import Text
from vllm_flow.core.values import Completion


@stage("try/stage")
@dataclass(frozen=True)
class Stage:
    """Gives a text."""

    def run(self, reply: Completion) -> Text:
        return reply.text


class Engine(EchoEngine):
    def close(self) -> None:
        raise OSError("stuck")


@resource("try/engine")
@dataclass(frozen=True)
class Options:
    """Of the engine."""

    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset(), media=frozenset({"image", "audio"}))

    def open(self) -> Engine:
        return Engine()


class Store(MemoryStore):
    def close(self) -> None:
        raise OSError("stuck")


class Forgets(MemoryStore):
    def last_conversation(self) -> None:
        return None


def tried(check, *values, **named):
    try:
        check(*values, **named)
    except (AssertionError, OSError) as error:
        print(error)


tried(check_stage, Stage(), reply=completion("hi"))
tried(check_engine, Options())
tried(check_store, Store)
tried(check_store, Forgets)
'''


def test_the_public_names_are_the_promised_ones() -> None:
    names = [name for name, value in vars(testing).items() if name[0] != "_" and not isinstance(value, ModuleType)]
    assert sorted(names) == testing.__all__ == [
        "EchoEngine", "FakeTools", "FixedClock", "MemoryStore", "ScriptedEngine", "archive_promises", "ask", "call_tool",
        "check_engine", "check_metric", "check_schedule", "check_stage", "check_store", "completion", "context",
        "engine_promises", "picture", "prompt", "schedule", "shared_promises", "sound", "store_promises", "turn", "values_of",
    ]  # fmt: skip


def test_a_plain_script_under_o_is_told_what_is_broken_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = tmp_path / "try.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-O", "-X", "dev", "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.stdout.splitlines() == [
        "no more",
        "try/stage: run gave str and declares Text. Make the two agree.",
        "closing_twice_is_harmless: it raised OSError: stuck. It should not.",
        "stuck",
        'what_was_said_comes_back_as_it_was: last_conversation is None. It should be "ann/1 – \'ünï\\x00\\n".',
        "the_last_conversation_is_the_one_written_last: last_conversation after ann's begin is None. It should be 'ann'.",
        "undo_is_a_write_and_may_end_a_conversation: last_conversation after an undo is None. It should be 'ann'.",
    ]
    assert (done.stderr, done.returncode) == ("", 0)


def test_no_check_is_left_to_the_assert_statement() -> None:
    for file in Path(str(testing.__file__)).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)], file.name
