"""For whoever writes a stage, a metric, a schedule, an engine or a store: parts to try it with, and checks of each.

A check raises AssertionError, without `assert`, so that it works under `python -O`, in any test runner and at a prompt.
The built-in parts are held to the same checks.
"""

from vllm_flow.clocks.fixed import FixedClock
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.stores.memory import MemoryStore
from vllm_flow.testing.asking import ask
from vllm_flow.testing.engines import check_engine, engine_promises
from vllm_flow.testing.media import picture, sound
from vllm_flow.testing.metrics import check_metric
from vllm_flow.testing.schedules import check_schedule, values_of
from vllm_flow.testing.stages import check_stage
from vllm_flow.testing.stores import archive_promises, check_store, shared_promises, store_promises
from vllm_flow.testing.tools import FakeTools, ScriptedEngine, call_tool
from vllm_flow.testing.values import completion, context, prompt, schedule, turn

__all__ = [
    "EchoEngine",
    "FakeTools",
    "FixedClock",
    "MemoryStore",
    "ScriptedEngine",
    "archive_promises",
    "ask",
    "call_tool",
    "check_engine",
    "check_metric",
    "check_schedule",
    "check_stage",
    "check_store",
    "completion",
    "context",
    "engine_promises",
    "picture",
    "prompt",
    "schedule",
    "shared_promises",
    "sound",
    "store_promises",
    "turn",
    "values_of",
]
