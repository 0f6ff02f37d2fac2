"""From the generation arguments of an lm-eval task to sampling parameters. What has none is refused, never dropped.

The words are lm-eval's and transformers'; every parameter of ours can be said under its own name, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vllm_flow.core.errors import ConfigError, Fault, listed, nearest, shown
from vllm_flow.core.sampling import Sampling

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""All mean `max_tokens`; of several the first counts, as lm-eval has it."""
WITHOUT_EFFECT = {"num_beams": 1, "use_cache": True}
"""What tasks say for the sake of other backends, at the values that mean nothing here."""
OWN = {one.name for one in dataclasses.fields(Sampling)} - {"n", "max_tokens", "stop"}
OFF = (0, -1)
"""How others write a `top_k` that keeps all."""


def sampling_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling parameters that lm-eval asks for; others stay what the session says.

    Without `do_sample` and a temperature it is greedy, and `do_sample: false` is greedy whatever the temperature: so is
    lm-eval's own backend. Raises ConfigError with every argument that cannot be honoured.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    lengths = [given.pop(name) for name in LENGTHS if name in given]
    draws = given.pop("do_sample", None)
    until = given.pop("until", [])
    found = {name: value for name, value in given.items() if name in OWN}
    if found.get("top_k") in OFF:
        found["top_k"] = None
    faults = [_unknown(name, value) for name, value in given.items() if name not in OWN]
    temperature = found.get("temperature", None if draws else 0.0)
    if draws and temperature == 0:
        problem = "at temperature 0 nothing is drawn, but do_sample is true. Set a temperature, or leave it out."
        faults.append(Fault("generation_kwargs.do_sample", problem))
    if faults := [one for one in faults if one]:
        raise ConfigError(faults)
    if temperature is not None:
        found["temperature"] = 0.0 if draws is False else temperature
    if lengths:
        found["max_tokens"] = int(lengths[0])
    return {**found, "stop": [one for one in ([until] if isinstance(until, str) else until) if one]}


def _unknown(name: str, value: Any) -> Fault | None:
    if name in WITHOUT_EFFECT and value == WITHOUT_EFFECT[name]:
        return None
    known = {*OWN, "do_sample", "until", LENGTHS[0]}
    problem = (
        f"{shown(value)} has no meaning here.{nearest(name, known)} Leave it out, or choose among: {listed(known)}."
    )
    return Fault(f"generation_kwargs.{name}", problem)
