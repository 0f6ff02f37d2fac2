"""vllm-flow: run language models as configured, repeatable pipelines.

These names are the promised ones: sessions to run a pipeline from Python, and what a stage is written with. Each is
imported when it is first asked for, so that the command's `--help` waits for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_flow.core.answers import Answer, Marks
    from vllm_flow.core.engines import Engines
    from vllm_flow.core.errors import ConfigError, FlowError, ToolError
    from vllm_flow.core.media import Audio, Image
    from vllm_flow.core.messages import Message, Text, assistant, system, user
    from vllm_flow.core.moving import Moving, Now, Steered
    from vllm_flow.core.registry import metric, schedule, stage, tool
    from vllm_flow.core.resources import Clock, Engine, Store
    from vllm_flow.core.results import Result, TurnFailed
    from vllm_flow.core.sampling import Sampling
    from vllm_flow.core.sampling_plan import SamplingPlan
    from vllm_flow.core.schedule import Schedule
    from vllm_flow.core.segments import Item, Segment, Share
    from vllm_flow.core.values import Completion, Context, Prompt, Score, Turn, Usage
    from vllm_flow.media import read_medium
    from vllm_flow.session import Session, Stream, build, load, node, run_sweep

__version__ = "0.1.0"
__all__ = [
    "Answer", "Audio", "Clock", "Completion", "ConfigError", "Context", "Engine", "Engines", "FlowError", "Image",
    "Item", "Marks", "Message", "Moving", "Now", "Prompt", "Result", "Sampling", "SamplingPlan", "Schedule", "Score",
    "Segment", "Session", "Share", "Steered", "Store", "Stream", "Text", "ToolError", "Turn", "TurnFailed", "Usage",
    "assistant", "build", "load", "metric", "node", "read_medium", "run_sweep", "schedule", "stage", "system", "tool",
    "user",
]  # fmt: skip

HOMES = {
    "vllm_flow.core.answers": "Answer Marks",
    "vllm_flow.core.engines": "Engines",
    "vllm_flow.core.errors": "ConfigError FlowError ToolError",
    "vllm_flow.core.media": "Audio Image",
    "vllm_flow.core.messages": "Message Text assistant system user",
    "vllm_flow.core.moving": "Moving Now Steered",
    "vllm_flow.core.registry": "metric schedule stage tool",
    "vllm_flow.core.resources": "Clock Engine Store",
    "vllm_flow.core.sampling": "Sampling",
    "vllm_flow.core.sampling_plan": "SamplingPlan",
    "vllm_flow.core.results": "Result TurnFailed",
    "vllm_flow.core.schedule": "Schedule",
    "vllm_flow.core.segments": "Item Segment Share",
    "vllm_flow.core.values": "Completion Context Prompt Score Turn Usage",
    "vllm_flow.media": "read_medium",
    "vllm_flow.session": "Session Stream build load node run_sweep",
}


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names.split():
            globals()[name] = found = getattr(import_module(home), name)
            return found
    raise AttributeError(f"module 'vllm_flow' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
