"""Pipeline: a checked configuration, ready to run. Building it finds every fault at once and opens nothing."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.advice import advice
from vllm_flow.core.arriving import arriving
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest, shown
from vllm_flow.core.flow import Item
from vllm_flow.core.gate import Gate
from vllm_flow.core.graph import Condition, Graph
from vllm_flow.core.metrics import Metric, read_metrics
from vllm_flow.core.option_checks import problems
from vllm_flow.core.parts import Parts
from vllm_flow.core.ports import Ports, fits
from vllm_flow.core.refusals import NESTED, foreseen, said
from vllm_flow.core.remembering import forgotten
from vllm_flow.core.repeats import repeated
from vllm_flow.core.resources import Store
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.spec import Path, RunSpec
from vllm_flow.core.values import Turn, nothing
from vllm_flow.core.wiring import Draft, Wiring

RESERVED = ("use", "from", "when", "each")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as configured: its options are built, nothing is open."""

    name: str
    use: str
    options: Any
    opens: Any
    """The type of the live object."""
    shared: bool


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What the runner runs."""

    name: str
    graph: Graph
    resources: Mapping[str, Resource]
    """Only those the graph reads."""
    sampling: SamplingPlan
    source: Any = None
    """Where turns come from, unread: `turns()` makes them. None when the caller brings the turns."""
    repeat: int = 1
    """How often each turn of the source is answered."""
    metrics: Mapping[str, Metric] = field(default_factory=nothing)
    """What is measured of the answers, by name."""
    advice: tuple[Fault, ...] = ()
    """What runs, but is hardly meant so."""
    media: Gate | None = None
    """The way in for images and sounds; None where there is no such resource."""

    @property
    def commits_output(self) -> bool:
        """Whether a stage hands the output to a store: only then is a stored reply what the user was told."""
        stores = {name for name, one in self.resources.items() if fits(one.opens, Store)}
        read = [set(node.sources.values()) for node in self.graph.nodes]
        return any(self.graph.output in names and names & stores for names in read)

    def turns(self) -> Iterable[Item] | AsyncIterable[Item]:
        """What the configured input holds, in its order, repeated. Raises ConfigError when no input is configured.

        Asynchronous when the input's class says `waits`: it comes from another program, as that writes it.
        """
        if self.source is None:
            problem = f"'{self.name}' has nothing to answer. Give a text with input.text=…, or rows with input.path=…."
            raise ConfigError([Fault("input", problem)])
        given = {"media": self.media} if "media" in inspect.signature(self.source.turns).parameters else {}
        turns: Iterable[Item] = self.source.turns(**given)
        turns = repeated(turns, self.repeat) if self.repeat > 1 else turns
        return arriving(turns) if getattr(self.source, "waits", False) else turns

    @classmethod
    def build(cls, spec: RunSpec) -> Pipeline:
        """Check the whole spec. Raises ConfigError with all faults; loads no model, touches no file or network."""
        return _Build(spec).pipeline()


class _Build:
    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.parts = Parts(spec)
        self.fault = self.parts.fault
        self.resources: dict[str, Resource] = {}
        self.sampling = SamplingPlan()
        self.given: dict[str, Any] = {}
        self.nested: dict[str, Graph | None] = {}
        self.building: list[str] = []
        self.miswired = False

    def pipeline(self) -> Pipeline:
        self.check_shape()
        self.parts.load()
        self.check_sampling()
        made = {str(name): self.make_resource(str(name), entry) for name, entry in self.spec.resources.items()}
        self.resources = {name: resource for name, resource in made.items() if resource}
        self.given = {"turn": Turn, "sampling": SamplingPlan}
        self.given |= {name: resource.opens if resource else Any for name, resource in made.items()}
        source, metrics = self.make_source(), read_metrics(self.parts)
        graph = self.table(("graph",), self.spec.graph, self.spec.output, free=False)
        known = {name: one.options for name, one in self.resources.items() if one.options is not None}
        stages = () if self.miswired else tuple(foreseen(graph, {"sampling": self.sampling, **known}))
        for path, problem in (*said(stages, "check"), *forgotten(stages)):
            self.fault(path, problem)
        if self.parts.faults:
            raise self.parts.error()
        used = {name: self.resources[name] for name in graph.inputs if name in self.resources}
        noticed = advice(self.spec, graph, self.sampling, stages)
        gate = self.resources.get("media")
        media = gate.options.open() if gate and fits(gate.opens, Gate) else None
        return Pipeline(self.spec.name, graph, used, self.sampling, source, self.spec.repeat, metrics, noticed, media)

    def check_shape(self) -> None:
        """What is no table cannot be looked into: then its shape is all there is to say."""
        found = problems(RunSpec, self.spec.content())
        for one in found:
            self.fault(one.path, one.problem)
        if any(one.path[0] not in ("seed", "concurrency", "repeat") for one in found):
            raise self.parts.error()

    def check_sampling(self) -> None:
        found = list(SamplingPlan.option_problems(self.spec.sampling))
        for one in found:
            self.fault(("sampling", *one.path), one.problem)
        if not found:
            self.sampling = SamplingPlan.option_read(self.spec.sampling)

    def make_resource(self, name: str, entry: Any) -> Resource | None:
        path = ("resources", name)
        found = self.parts.find(path, registry.resource, entry)
        if found is None:
            return None
        made = self.parts.instance(path, found, {key: value for key, value in entry.items() if key != "use"})
        ports = self.parts.ports(path, found, registry.resource)
        return Resource(name, found.name, made, ports.output, found.shared) if ports else None

    def make_source(self) -> Any:
        found = self.parts.find(("input",), registry.source, self.spec.input) if self.spec.input else None
        given = {key: value for key, value in self.spec.input.items() if key != "use"}
        return self.parts.instance(("input",), found, given) if found else None

    def table(self, path: Path, entries: Any, output: Any, *, free: bool) -> Graph:
        """One graph: the run's own, or that of a pipeline used as a stage (`free`: what it lacks are its inputs)."""
        if not isinstance(entries, Mapping) or not entries:
            self.fault(path, "there are no nodes. A graph is a mapping of names to `{use: …}`.")
            return Graph((), "", Any, {})
        before = len(self.parts.faults)
        names = {str(name): entry for name, entry in entries.items() if self.may_be_called((*path, str(name)))}
        misnamed = len(self.parts.faults) > before
        drafts = {name: self.draft((*path, name), name, entry) for name, entry in names.items()}
        before, answer = len(self.parts.faults), output if output is None else str(output)
        wiring = Wiring(drafts, answer, self.given, free, partial(self.below, path), dangling=misnamed)
        graph = wiring.connect()
        self.miswired = self.miswired or misnamed or len(self.parts.faults) > before
        return graph

    def may_be_called(self, path: Path) -> bool:
        """Whether the last of `path` can name a value."""
        name = path[-1]
        if name in self.given:
            self.fault(path, f"'{name}' is given to every graph. Choose another name for this value.")
        elif not name.isidentifier():
            self.fault(path, f"'{name}' cannot be a parameter's name. Use letters, digits and _.")
        return name.isidentifier() and name not in self.given

    def below(self, path: Path, place: Path, problem: str) -> None:
        """A fault in the table at `path`; its place starts with `graph` or `output`."""
        self.fault((*path[:-1], *place), problem)

    def draft(self, path: Path, name: str, entry: Any) -> Draft:
        if isinstance(entry, Mapping) and str(entry.get("use", "")).startswith(NESTED):
            return self.nested_draft(path, name, entry)
        found = self.parts.find(path, registry.stage, entry)
        if found is None:
            return Draft(name, "", None, None, {})
        made = self.parts.instance(path, found, {key: value for key, value in entry.items() if key not in RESERVED})
        ports = self.parts.ports(path, found, registry.stage)
        return self.reserved(path, Draft(name, found.name, made, ports, {}, blocking=found.blocking), entry)

    def reserved(self, path: Path, draft: Draft, entry: Mapping[str, Any]) -> Draft:
        """Read `from`, `each` and `when`."""
        renames, sound = entry.get("from"), True
        renames = {} if renames is None else renames
        if not isinstance(renames, Mapping) or not all(isinstance(value, str) for value in renames.values()):
            self.fault((*path, "from"), f"{shown(renames)} does not fit. Write `from: {{parameter: value}}`.")
            renames = {}
            sound = False
        words: dict[str, str | None] = {}
        for key, what in (("each", "one parameter"), ("when", "one value, or `not` and one value")):
            words[key] = entry.get(key)
            if words[key] is not None and not (isinstance(words[key], str) and words[key]):
                self.fault((*path, key), f"{shown(words[key])} does not fit. Write the name of {what}.")
                words[key], sound = None, False
        when = Condition.parse(words["when"]) if words["when"] else None
        return dataclasses.replace(draft, renames=renames, each=words["each"], when=when, sound=sound)

    def nested_draft(self, path: Path, name: str, entry: Mapping[str, Any]) -> Draft:
        use = str(entry["use"])
        for key in entry:
            if key not in RESERVED:
                self.fault((*path, key), f"{use} takes no options. Beside `use` it takes: each, from, when.")
        graph = self.nested_graph((*path, "use"), use.removeprefix(NESTED))
        ports = Ports(graph.inputs, graph.output_type) if graph else None
        return self.reserved(path, Draft(name, use, graph, ports, {}), entry)

    def nested_graph(self, path: Path, name: str) -> Graph | None:
        if name not in self.spec.pipelines:
            others = listed(self.spec.pipelines)
            self.fault(path, f"there is no pipeline '{name}'.{nearest(name, self.spec.pipelines)} There are: {others}.")
            return None
        if name in self.nested:
            if self.nested[name] is None and name in self.building:
                circle = " → ".join([*self.building[self.building.index(name) :], name])
                self.fault(path, f"the pipeline uses itself: {circle}. Break the circle.")
            return self.nested[name]
        self.nested[name] = None
        self.building.append(name)
        inner, before = self.spec.pipelines[name], len(self.parts.faults)
        graph = self.table(("pipelines", name, "graph"), inner.get("graph"), inner.get("output"), free=True)
        self.building.pop()
        self.nested[name] = graph if len(self.parts.faults) == before else None
        return self.nested[name]
