"""Room for tools in a prompt: what a stage behind the fuser will say of them is measured before it is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vllm_flow.core.ledger import Measured
from vllm_flow.core.tool_prompts import written_out
from vllm_flow.core.tool_values import ToolSpec
from vllm_flow.core.values import Prompt

Measure = Callable[[Prompt], Measured]


def with_room(measure: Measure, specs: tuple[ToolSpec, ...], least: int) -> Measure:
    """Measures prompts as if they told of these tools already: as the template does, or in writing, if that is longer.

    least: so many tokens are kept for them in any case, of which what is not needed to describe them is left for calls
    and what these give.
    """

    def measured(prompt: Prompt) -> Measured:
        found = measure(prompt)
        told = [replace(prompt, tools=specs), written_out(replace(prompt, tools=specs))] if specs else []
        tools = max(least, *(measure(one).tokens - found.tokens for one in told), 0)
        return replace(found, tokens=found.tokens + tools, tools=found.tools + tools)

    return measured
