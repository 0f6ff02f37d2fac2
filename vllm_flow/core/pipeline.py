"""Pipeline: a checked configuration, ready to run. Building it finds every fault at once and opens nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vllm_flow.core import options, plugins, registry
from vllm_flow.core.errors import ConfigError, Fault, FlowError, listed, nearest, shown
from vllm_flow.core.flow import Item
from vllm_flow.core.graph import Condition, Graph
from vllm_flow.core.options import position
from vllm_flow.core.ports import Ports, fits, ports_of
from vllm_flow.core.refusals import NESTED, own_problems, refusals
from vllm_flow.core.resources import Store
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.spec import Path, RunSpec
from vllm_flow.core.values import Turn
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
    sampling: Sampling
    source: Any = None
    """Where turns come from, unread: `turns()` makes them. None when the caller brings the turns."""

    @property
    def commits_output(self) -> bool:
        """Whether a stage hands the output to a store: only then is a stored reply what the user was told."""
        stores = {name for name, one in self.resources.items() if fits(one.opens, Store)}
        read = [set(node.sources.values()) for node in self.graph.nodes]
        return any(self.graph.output in names and names & stores for names in read)

    def turns(self) -> Iterable[Item]:
        """What the configured input holds, in its order. Raises ConfigError when no input is configured."""
        if self.source is None:
            problem = f"'{self.name}' has nothing to answer. Give a text with input.text=…, or rows with input.path=…."
            raise ConfigError([Fault("input", problem)])
        turns: Iterable[Item] = self.source.turns()
        return turns

    @classmethod
    def build(cls, spec: RunSpec) -> Pipeline:
        """Check the whole spec. Raises ConfigError with all faults; loads no model, touches no file or network."""
        return _Build(spec).pipeline()


class _Build:
    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.faults: dict[tuple[Path, str], Fault] = {}
        self.resources: dict[str, Resource] = {}
        self.sampling = Sampling()
        self.given: dict[str, Any] = {}
        self.nested: dict[str, Graph | None] = {}
        self.building: list[str] = []
        self.unloaded: set[str] = set()
        """Packages that could not be imported, "" for a project's own file: names may be unknown because of them."""
        self.miswired = False

    def pipeline(self) -> Pipeline:
        self.check_shape()
        for path, package, problem in plugins.load(self.spec):
            self.fault(path, problem)
            self.unloaded.add(package)
        self.check_sampling()
        made = {str(name): self.make_resource(str(name), entry) for name, entry in self.spec.resources.items()}
        self.resources = {name: resource for name, resource in made.items() if resource}
        self.given = {"turn": Turn, "sampling": Sampling}
        self.given |= {name: resource.opens if resource else Any for name, resource in made.items()}
        source = self.make_source()
        graph = self.table(("graph",), self.spec.graph, self.spec.output, free=False)
        if not self.miswired:
            known = {name: one.options for name, one in self.resources.items() if one.options is not None}
            for path, problem in refusals(graph, {"sampling": self.sampling, **known}):
                self.fault(path, problem)
        if self.faults:
            raise self.error()
        used = {name: self.resources[name] for name in graph.inputs if name in self.resources}
        return Pipeline(self.spec.name, graph, used, self.sampling, source)

    def check_shape(self) -> None:
        """What is no table cannot be looked into: then its shape is all there is to say."""
        found = options.problems(RunSpec, self.spec.content())
        for one in found:
            self.fault(one.path, one.problem)
        if any(one.path[0] not in ("seed", "concurrency") for one in found):
            raise self.error()

    def error(self) -> ConfigError:
        """All faults, in the order in which their places are written."""
        content = self.spec.content()
        return ConfigError(self.faults[key] for key in sorted(self.faults, key=lambda key: position(content, key[0])))

    def fault(self, path: Path, problem: str) -> None:
        self.faults.setdefault((path, problem), Fault(".".join(path), problem, self.spec.origin(path)))

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
        made = self.instance(path, found, {key: value for key, value in entry.items() if key != "use"})
        try:
            opens = ports_of(found.cls, "open").output
        except (TypeError, NameError) as error:
            self.fault(path, f"{found.name}: {error}.")
            return None
        return Resource(name, found.name, made, opens, found.shared)

    def make_source(self) -> Any:
        found = self.find(("input",), registry.source, self.spec.input) if self.spec.input else None
        given = {key: value for key, value in self.spec.input.items() if key != "use"}
        return self.instance(("input",), found, given) if found else None

    def find(self, path: Path, kind: registry.Registry, entry: Any) -> registry.Entry | None:
        """The registered class an entry names, or None after saying why not."""
        if not isinstance(entry, Mapping):
            self.fault(path, f"{shown(entry)} is no {kind.kind}. Write a mapping with `use: …`.")
            return None
        use = entry.get("use")
        if not isinstance(use, str):
            what = f"'use' is missing. It names the {kind.kind}." if use is None else f"{shown(use)} is no name."
            self.fault((*path, "use"), f"{what} There are: {listed(one.name for one in kind)}.")
            return None
        found = kind.find(use)
        if found is None and use.rpartition(":")[0] not in self.unloaded:
            own = [name for name, of in self.spec.offered.items() if of == kind.kind]
            self.fault((*path, "use"), kind.unknown(use, own))
        return found

    def instance(self, path: Path, entry: registry.Entry, given: Mapping[str, Any]) -> Any:
        """A checked instance of an options class or stage; None after saying what is wrong."""
        try:
            found = options.problems(entry.cls, given)
        except (TypeError, NameError) as error:
            self.fault(path, f"{entry.name}: {error}.")
            return None
        for one in found:
            self.fault((*path, *one.path), one.problem)
        if found:
            return None
        try:
            made: Any = options.build(entry.cls, given)
        except (ValueError, FlowError) as error:
            self.fault(path, f"{error}")
            return None
        for inner, problem in own_problems(made):
            self.fault((*path, *inner), problem)
        return made

    def table(self, path: Path, entries: Any, output: Any, *, free: bool) -> Graph:
        """One graph: the run's own, or that of a pipeline used as a stage (`free`: what it lacks are its inputs)."""
        if not isinstance(entries, Mapping) or not entries:
            self.fault(path, "there are no nodes. A graph is a mapping of names to `{use: …}`.")
            return Graph((), "", Any, {})
        before = len(self.faults)
        names = {str(name): entry for name, entry in entries.items() if self.may_be_called((*path, str(name)))}
        misnamed = len(self.faults) > before
        drafts = {name: self.draft((*path, name), name, entry) for name, entry in names.items()}
        before, answer = len(self.faults), output if output is None else str(output)
        wiring = Wiring(drafts, answer, self.given, free, partial(self.below, path), dangling=misnamed)
        graph = wiring.connect()
        self.miswired = self.miswired or misnamed or len(self.faults) > before
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
        found = self.find(path, registry.stage, entry)
        if found is None:
            return Draft(name, "", None, None, {})
        made = self.instance(path, found, {key: value for key, value in entry.items() if key not in RESERVED})
        try:
            ports: Ports | None = ports_of(found.cls)
        except (TypeError, NameError) as error:
            self.fault(path, f"{found.name}: {error}.")
            ports = None
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
        inner, before = self.spec.pipelines[name], len(self.faults)
        graph = self.table(("pipelines", name, "graph"), inner.get("graph"), inner.get("output"), free=True)
        self.building.pop()
        self.nested[name] = graph if len(self.faults) == before else None
        return self.nested[name]
