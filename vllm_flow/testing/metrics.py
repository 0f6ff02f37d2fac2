"""The check of a metric: it is asked as a run is scored, twice."""

from __future__ import annotations

import inspect
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.metric_ports import metric_ports
from vllm_flow.core.metrics import Value, checked
from vllm_flow.core.ports import type_name
from vllm_flow.core.registry import Entry
from vllm_flow.testing.compare import require
from vllm_flow.testing.options import option_problems, registered


def check_metric(metric: Any, /, **values: Any) -> Value:
    """Ask a metric about these values, check what every metric promises, and give what it said.

    It is a registered function, or an instance of a registered class. Its parameters can be read, its options be
    configured; what is given are its parameters; equal values give equal scores: a number, true, false or None.

    Raises AssertionError with one line for the first broken promise, and whatever `score` raises, as it is.
    """
    entry = _entry(metric)
    made = entry.cls() if inspect.isfunction(metric) else metric
    try:
        inputs = metric_ports(entry.cls).inputs
    except (TypeError, NameError) as error:
        raise AssertionError(f"{entry.name}: {error}.") from error
    problems = "\n".join(option_problems(entry.name, made))
    require(not problems, problems)
    for name in values:
        known = f"{nearest(name, inputs)} It has: {listed(inputs)}."
        require(name in inputs, f"{entry.name}: there is no parameter '{name}'.{known}")
    for name, port in inputs.items():
        takes = f"It takes {type_name(port.type)}."
        require(name in values or not port.required, f"{entry.name}.{name}: nothing is given. {takes}")
    first, second = made.score(**values), made.score(**values)
    try:
        score = checked(first)
    except ValueError as error:
        raise AssertionError(f"{entry.name}: {error}") from None
    twice = f"for equal values it gave {first} and then {second}. Use nothing but parameters and options."
    require(first == second, f"{entry.name}: {twice}")
    return score


def _entry(metric: Any) -> Entry:
    if not inspect.isfunction(metric):
        return registered(registry.metric, metric)
    found = registry.metric.of_function(metric)
    if found is None:
        raise AssertionError(f"{metric.__name__}: it is not registered. Put @metric('role/manner') above the function.")
    return found
