"""Two ways to a session: from files, as the command takes it, or from stages written in Python.

Both end in a RunSpec, the plain data that YAML would have given: stages from Python are written down with their
registered names and their options. So checks, fingerprint and record are the same, and nothing runs that a file could
not say.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from vllm_flow.config import compose
from vllm_flow.config.secrets import PROBLEM, secrets_in
from vllm_flow.core import registry
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import ConfigError, Fault
from vllm_flow.core.moving import Moving
from vllm_flow.core.options import written
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import NOTHING
from vllm_flow.session.session import Session


def load(
    pipeline: str = "dialogue",
    overrides: str | Sequence[str] = (),
    *,
    project: str | PathLike[str] | None = None,
    engines: Engines | None = None,
    record: bool | str | PathLike[str] = True,
) -> Session:
    """A session of the pipeline that `vllm-flow pipeline=… overrides…` runs, composed and checked alike.

    `project` is the folder with `conf/`, `pipelines/` and `stages/`, instead of the working directory. Sessions that
    share `engines` load a model once. `record` is where the run's folder is written: below `outputs/runs`, in a folder
    of your own, or, with False, nowhere. Raises ConfigError with every fault; loads no model.
    """

    def composed(words: Sequence[str]) -> RunSpec:
        return compose([f"pipeline={pipeline}", *words], project)

    words = [overrides] if isinstance(overrides, str) else list(overrides)
    return Session(composed(words), engines=engines, record=record, compose=composed, overrides=words)


def build(
    graph: Mapping[str, Any],
    output: str,
    *,
    resources: Mapping[str, Any] = NOTHING,
    sampling: Sampling | SamplingPlan | Mapping[str, Any] = NOTHING,
    input: Any = NOTHING,  # noqa: A002  the configuration's word
    metrics: Mapping[str, Any] = NOTHING,
    seed: int = 0,
    concurrency: int = 256,
    pipelines: Mapping[str, Mapping[str, Any]] = NOTHING,
    plugins: Mapping[str, str] = NOTHING,
    name: str = "python",
    engines: Engines | None = None,
    record: bool | str | PathLike[str] = True,
) -> Session:
    """A session of a pipeline written in Python; the words are those of a configuration file.

    A line of `graph` is a stage, `Chat(system="…")`; a stage with words beside it, see `node`; or the mapping that YAML
    would have. Resources, metrics and the input are instances or mappings likewise. A stage need not be in a file: a
    class of a notebook, registered with `@stage`, will do. `engines` and `record` are those of `load`.

    Options at their default are left out, so that the fingerprint is that of a file that does not mention them. Raises
    ConfigError with every fault, at paths such as `graph.prompt.system`.
    """
    content = {
        "graph": _entries(graph),
        "resources": _entries(resources),
        "sampling": _sampling(sampling),
        "input": _entry(input),
        "metrics": _entries(metrics),
        "pipelines": {key: _nested(one) for key, one in pipelines.items()},
        "plugins": plugins,
    }
    if faults := [Fault(".".join(path), PROBLEM) for path in secrets_in(content)]:
        raise ConfigError(faults)
    spec = RunSpec(name=name, output=output, seed=seed, concurrency=concurrency, **content)
    return Session(spec, engines=engines, record=record)


def node(stage: Any, /, *, each: str | None = None, when: str | None = None, **sources: str) -> dict[str, Any]:
    """A stage with words beside it: `node(Join(), first="said", second="again", when="wanted")`.

    A keyword that is no word names a parameter of the stage's `run` and the value it gets: YAML's `from`. The stage may
    be a name too, such as `pipeline/story`.
    """
    words = {"from": sources, "each": each, "when": when}
    return {"use": stage, **{word: value for word, value in words.items() if value}}


def _sampling(given: Sampling | SamplingPlan | Mapping[str, Any]) -> Any:
    """As a configuration has it; a value may be a schedule, an instance of its class, or a registered function."""
    if isinstance(given, Mapping):
        schedules = {name for name, one in given.items() if dataclasses.is_dataclass(one) or callable(one)}
        given = {name: Moving.of(one) if name in schedules else one for name, one in given.items()}
    return written(given, defaults=False)


def _entries(table: Any) -> Any:
    return {name: _entry(entry) for name, entry in table.items()} if isinstance(table, Mapping) else table


def _nested(pipeline: Any) -> Any:
    return {**pipeline, "graph": _entries(pipeline.get("graph"))} if isinstance(pipeline, Mapping) else pipeline


def _entry(entry: Any) -> Any:
    """An entry as YAML would have it. What is not registered stays, for the check to find with all the rest."""
    if not isinstance(entry, Mapping):
        return _part(entry) or entry
    part = _part(entry.get("use"))
    return {**entry, **part} if part else entry


def _part(made: Any) -> dict[str, Any] | None:
    if inspect.isfunction(made):
        metric = registry.metric.of_function(made)
        return {"use": metric.name} if metric else None
    found = (kind.of(type(made)) for kind in (registry.stage, registry.resource, registry.source, registry.metric))
    known = next((one for one in found if one), None)
    return {"use": known.name, **written(made, defaults=False)} if known else None
