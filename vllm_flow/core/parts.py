"""Parts: from the `use` of an entry to a checked instance of the class behind it, and every fault on that way."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from vllm_flow.core import options, plugins, registry
from vllm_flow.core.errors import ConfigError, Fault, FlowError, listed, shown, told
from vllm_flow.core.metric_ports import ports_for
from vllm_flow.core.option_checks import own_problems, position, problems
from vllm_flow.core.ports import Ports
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.sampling_plan import neither
from vllm_flow.core.spec import Path, RunSpec


class Parts:
    """The parts of one spec. Nothing is raised while they are looked at: faults are collected, and told together."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.faults: dict[tuple[Path, str], Fault] = {}
        self.unloaded: set[str] = set()
        """Packages that could not be imported, "" for a project's own file: names may be unknown because of them."""
        self._instead: dict[str, str] = {}
        """What to say of a schedule that nobody knows, which only the whole spec tells; empty for nothing."""

    def fault(self, path: Path, problem: str) -> None:
        problem = self._instead.get(problem, problem)
        if problem:
            self.faults.setdefault((path, problem), Fault(".".join(path), problem, self.spec.origin(path)))

    def load(self) -> None:
        """Import what the spec names."""
        for path, package, problem in plugins.load(self.spec):
            self.fault(path, problem)
            self.unloaded.add(package)
        own = [name for name, kind in self.spec.offered.items() if kind == registry.schedule.kind]
        for (*_, last), name in plugins.schedules_named_in(self.spec):
            lost = name.rpartition(":")[0] in self.unloaded and (":" in name or name in own)
            unknown = registry.schedule.unknown
            self._instead[unknown(name)] = "" if lost else unknown(name, own)
            if last in RANGES:
                self._instead[neither(last, name)] = "" if lost else neither(last, name, own)

    def error(self) -> ConfigError:
        """All faults, in the order in which their places are written."""
        content = self.spec.content()
        return ConfigError(self.faults[key] for key in sorted(self.faults, key=lambda key: position(content, key[0])))

    def find(self, path: Path, kind: registry.Registry, entry: Any) -> registry.Entry | None:
        """The registered class an entry names, or None after saying why not."""
        use = entry.get("use") if isinstance(entry, Mapping) else entry
        if problem := _no_part(use, kind):
            self.fault(path, problem)
            return None
        if not isinstance(entry, Mapping):
            self.fault(path, f"{shown(entry)} is no {kind.kind}. Write a mapping with `use: …`.")
            return None
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
            found = problems(entry.cls, given)
        except Exception as error:  # annotations are code
            self.fault(path, f"{entry.name}: {_unread(error)}.")
            return None
        for one in found:
            self.fault((*path, *one.path), f"{one.problem}{self._left_over(path, one.path)}")
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

    def _left_over(self, path: Path, option: Path) -> str:
        """What to do about an option of a file in which the `use` of its entry is not: mappings merge."""
        file = self.spec.origin((*path, *option)).rpartition(":")[0]
        here = self.spec.origin((*path, "use")).rpartition(":")[0] == file
        if here or not file or path[:1] != ("graph",) or len(option) != 1:
            return ""
        return f" If it is left over from another stage, ~{'.'.join((*path, *option))} leaves it out."

    def ports(self, path: Path, entry: registry.Entry, kind: registry.Registry) -> Ports | None:
        """What the class asks for and makes; None after saying why that cannot be read."""
        try:
            return ports_for(kind, entry.cls)
        except Exception as error:  # annotations are code
            self.fault(path, f"{entry.name}: {_unread(error)}.")
            return None


def _no_part(use: Any, kind: registry.Registry) -> str:
    """What is wrong with an object from Python that is meant as a part; empty for everything that YAML can say."""
    if isinstance(use, type):
        return f"{use.__name__} is a class. Write an instance: {use.__name__}(…)."
    if inspect.isfunction(use):
        return f"{use.__name__} is not registered as a {kind.kind}. Register it under a name such as `role/manner`."
    if dataclasses.is_dataclass(use) or hasattr(use, kind.method):
        name = type(use).__name__
        return f"{name} is not registered as a {kind.kind}. Register its class under a name such as `role/manner`."
    return ""


def _unread(error: Exception) -> str:
    """Why annotations could not be read: ours are TypeErrors and say it all, a NameError says what is undefined."""
    return str(error) if isinstance(error, TypeError | NameError) else told(error).removesuffix(".")
