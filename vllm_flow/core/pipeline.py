"""Pipeline: a checked configuration, ready to run. Building it finds every fault at once and opens nothing."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core import options, plugins, registry
from vllm_flow.core.errors import ConfigError, Fault, FlowError, listed, nearest
from vllm_flow.core.graph import Condition, Graph, Node
from vllm_flow.core.ports import Ports, ports_of
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.spec import Path, RunSpec
from vllm_flow.core.values import Turn
from vllm_flow.core.wiring import Draft, Wiring

RESERVED = ("use", "from", "when", "each")
NESTED = "pipeline/"


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
    sampling: Sampling
    source: Any = None
    """Where turns come from, unread: `turns()` makes them. None when the caller brings the turns."""

    @classmethod
    def build(cls, spec: RunSpec) -> Pipeline:
        """Check the whole spec. Raises ConfigError with all faults; loads no model, touches no file or network."""
        return _Build(spec).pipeline()


class _Build:
    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.faults: dict[tuple[str, str], Fault] = {}
        self.resources: dict[str, Resource] = {}
        self.sampling = Sampling()
        self.given: dict[str, Any] = {}
        self.nested: dict[str, Graph | None] = {}
        self.building: list[str] = []

    def pipeline(self) -> Pipeline:
        for path, problem in plugins.load(self.spec):
            self.fault(path, problem)
        self.check_sampling()
        made = {name: self.make_resource(name, entry) for name, entry in self.spec.resources.items()}
        self.resources = {name: resource for name, resource in made.items() if resource}
        self.given = {"turn": Turn, "sampling": Sampling}
        self.given |= {name: resource.opens if resource else Any for name, resource in made.items()}
        source = self.make_source()
        graph = self.table(("graph",), self.spec.graph, self.spec.output, free=False)
        if self.faults:
            raise ConfigError(self.faults.values())
        used = {name: self.resources[name] for name in graph.inputs if name in self.resources}
        return Pipeline(self.spec.name, graph, used, self.sampling, source)

    def fault(self, path: Path, problem: str) -> None:
        dotted = ".".join(path)
        self.faults.setdefault((dotted, problem), Fault(dotted, problem, self.spec.origin(path)))

    def check_sampling(self) -> None:
        found = options.problems(Sampling, self.spec.sampling)
        for one in found:
            self.fault(("sampling", *one.path), one.problem)
        if not found:
            self.sampling = options.build(Sampling, self.spec.sampling)

    def make_resource(self, name: str, entry: Any) -> Resource | None:
        path = ("resources", name)
        found = self.find(path, registry.resource, entry)
        if found is None:
            return None
        made = self.instance(path, found.cls, {key: value for key, value in entry.items() if key != "use"})
        try:
            opens = ports_of(found.cls, "open").output
        except (TypeError, NameError) as error:
            self.fault(path, f"{found.name}: {error}.")
            return None
        return Resource(name, found.name, made, opens, found.shared)

    def make_source(self) -> Any:
        found = self.find(("input",), registry.source, self.spec.input) if self.spec.input else None
        given = {key: value for key, value in self.spec.input.items() if key != "use"}
        return self.instance(("input",), found.cls, given) if found else None

    def find(self, path: Path, kind: registry.Registry, entry: Any) -> registry.Entry | None:
        """The registered class an entry names, or None after saying why not."""
        if not isinstance(entry, Mapping):
            self.fault(path, f"{entry!r} is no {kind.kind}. Write a mapping with `use: …`.")
            return None
        use = entry.get("use")
        if not isinstance(use, str):
            what = f"'use' is missing. It names the {kind.kind}." if use is None else f"{use!r} is no name."
            self.fault((*path, "use"), f"{what} There are: {listed(one.name for one in kind)}.")
            return None
        found = kind.find(use)
        if found is None:
            self.fault((*path, "use"), kind.unknown(use))
        return found

    def instance(self, path: Path, cls: type, given: Mapping[str, Any]) -> Any:
        """A checked instance of an options class or stage; None after saying what is wrong."""
        try:
            found = options.problems(cls, given)
        except TypeError as error:
            self.fault(path, f"{error}.")
            return None
        for one in found:
            self.fault((*path, *one.path), one.problem)
        if found:
            return None
        try:
            made: Any = options.build(cls, given)
        except (ValueError, FlowError) as error:
            self.fault(path, f"{error}")
            return None
        for inner, problem in _own_problems(made):
            self.fault((*path, *inner), problem)
        return made

    def table(self, path: Path, entries: Any, output: Any, *, free: bool) -> Graph:
        """One graph: the run's own, or that of a pipeline used as a stage (`free`: what it lacks are its inputs)."""
        if not isinstance(entries, Mapping) or not entries:
            self.fault(path, "there are no nodes. A graph is a mapping of names to `{use: …}`.")
            return Graph((), "", Any, {})
        drafts = {name: self.draft((*path, name), str(name), entry) for name, entry in entries.items()}

        def report(inner: tuple[str, ...], problem: str) -> None:
            place = (*path[:-1], "output") if inner == ("output",) and "output" not in drafts else (*path, *inner)
            self.fault(place, problem)

        before = len(self.faults)
        graph = Wiring(drafts, str(output), self.given, free, report).connect()
        if len(self.faults) == before:
            for node in graph.nodes:
                self.ask_stage(path, node)
        return graph

    def draft(self, path: Path, name: str, entry: Any) -> Draft:
        if not name.isidentifier():
            self.fault(path, f"'{name}' cannot be a parameter's name. Use letters, digits and _.")
        if name in self.given:
            self.fault(path, f"'{name}' is given to every graph. Choose another name for this value.")
        if isinstance(entry, Mapping) and str(entry.get("use", "")).startswith(NESTED):
            return self.nested_draft(path, name, entry)
        found = self.find(path, registry.stage, entry)
        if found is None:
            return Draft(name, "", None, None, {})
        made = self.instance(path, found.cls, {key: value for key, value in entry.items() if key not in RESERVED})
        try:
            ports: Ports | None = ports_of(found.cls)
        except (TypeError, NameError) as error:
            self.fault(path, f"{found.name}: {error}.")
            ports = None
        return self.reserved(path, Draft(name, found.name, made, ports, {}, blocking=found.blocking), entry)

    def reserved(self, path: Path, draft: Draft, entry: Mapping[str, Any]) -> Draft:
        """Read `from`, `each` and `when`."""
        renames = entry.get("from") or {}
        if not isinstance(renames, Mapping) or not all(isinstance(value, str) for value in renames.values()):
            self.fault((*path, "from"), f"{renames!r} does not fit. Write `from: {{parameter: value}}`.")
            renames = {}
        if draft.ports is not None:
            for parameter in renames:
                if parameter not in draft.ports.inputs:
                    what = f"{draft.use} has no parameter '{parameter}'.{nearest(parameter, draft.ports.inputs)}"
                    self.fault((*path, "from", parameter), f"{what} It asks for: {listed(draft.ports.inputs)}.")
        words: dict[str, str | None] = {}
        for key in ("each", "when"):
            words[key] = entry.get(key)
            if not isinstance(words[key], str | None):
                self.fault((*path, key), f"{words[key]!r} does not fit. Write the name of one value.")
                words[key] = None
        when = Condition.parse(words["when"]) if words["when"] else None
        return dataclasses.replace(draft, renames=renames, each=words["each"], when=when)

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
        inner, before = self.spec.pipelines[name], len(self.faults)
        graph = self.table(("pipelines", name, "graph"), inner.get("graph"), inner.get("output"), free=True)
        self.building.pop()
        self.nested[name] = graph if len(self.faults) == before else None
        return self.nested[name]

    def ask_stage(self, path: Path, node: Node) -> None:
        """Let a stage refuse what can be seen before anything runs: its `check` names sampling and resources."""
        check = getattr(node.stage, "check", None)
        if check is None or isinstance(node.stage, Graph):
            return
        known: dict[str, Any] = {"sampling": self.sampling}
        known |= {name: resource.options for name, resource in self.resources.items()}
        wanted = inspect.signature(check).parameters
        values = {one: known.get(node.sources.get(one, one)) for one in wanted}
        if all(value is not None for value in values.values()):
            problems: Iterable[tuple[Path, str]] = check(**values)
            for place, problem in problems:
                self.fault(place or (*path, node.name), problem)


def _own_problems(made: Any) -> Iterator[tuple[Path, str]]:
    """What an options object says of itself, and its nested options of themselves: combinations no schema can see."""
    if callable(own := getattr(made, "problems", None)):
        yield from (((), problem) for problem in own())
    for one in dataclasses.fields(made):
        inner = getattr(made, one.name)
        if dataclasses.is_dataclass(inner):
            yield from (((one.name, *path), problem) for path, problem in _own_problems(inner))
