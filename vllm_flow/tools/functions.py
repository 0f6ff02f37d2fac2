"""Functions as a resource: those that a configuration offers, by name, each with its options.

What a function cannot do without, a clock or the web, is a resource of its own, and reaches it by its name; so it is
written once, recorded once, and a test puts another in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from vllm_flow.core import options, registry
from vllm_flow.core.errors import shown, told
from vllm_flow.core.option_checks import own_problems, problems
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.tool_schema import signature_of
from vllm_flow.core.tools import Tools
from vllm_flow.tools.running import Function, RunningTools


@resource("tools/functions")
@dataclass(frozen=True)
class Functions:
    """Functions in this process: shipped ones, and those that `@tool` registers."""

    offer: Mapping[str, Any]
    """What the model may call: `{clock: {}, weather: {host: …}}`, the name of each with its options."""
    timeout_s: Annotated[float, above(0)] = 20.0
    """How long one call may take; what takes longer is left, and the model is told so."""
    max_chars: Annotated[int, at_least(1)] = 8000
    """How long a result may be; of a longer one the model is told that it is too long, and nothing else."""

    def problems(self) -> Iterator[OptionProblem]:
        for name, given in self.offer.items():
            yield from self._of(str(name), given)

    def _of(self, name: str, given: Any) -> Iterator[OptionProblem]:
        entry = registry.tool.find(name)
        if entry is None:
            yield OptionProblem(("offer", name), registry.tool.unknown(name))
            return
        try:
            signature_of(name, entry.cls)
        except (TypeError, NameError) as error:
            yield OptionProblem(("offer", name), f"{told(error).partition(': ')[2]}.")
            return
        if not isinstance(given, Mapping):
            yield OptionProblem(("offer", name), f"{shown(given)} does not fit. Write its options, or {{}} for none.")
        elif found := problems(entry.cls, given):
            yield from (OptionProblem(("offer", name, *one.path), one.problem) for one in found)
        else:
            for path, problem in own_problems(options.build(entry.cls, given)):
                yield OptionProblem(("offer", name, *path), problem)

    @cached_property
    def _functions(self) -> tuple[Function, ...]:
        """Those that have no problems."""
        found = []
        for name, given in self.offer.items():
            entry = registry.tool.find(str(name))
            if entry is not None and not [*self._of(str(name), given)]:
                signature = signature_of(entry.name.rpartition(":")[2], entry.cls)
                found.append(Function(signature, options.build(entry.cls, given)))
        return tuple(found)

    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """Resource to the functions that ask for it."""
        found: dict[str, tuple[str, ...]] = {}
        for one in self._functions:
            for name in one.signature.resources:
                found[name] = (*found.get(name, ()), one.signature.spec.name)
        return found

    def open(self) -> Tools:
        return RunningTools(self._functions, self.timeout_s, self.max_chars)
