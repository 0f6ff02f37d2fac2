"""Limits: what a YAML file may be, checked before OmegaConf sees it.

A 244-byte file of nested aliases keeps OmegaConf busy for ten seconds, so nodes are counted as if every alias were
written out, which the YAML node graph answers without writing them out.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from vllm_flow.config.secrets import PROBLEM, written_out
from vllm_flow.core.errors import Fault

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
PARSER_DEPTH = "exceeded maximum nesting depth"
"""What libyaml says of a thousand levels, and says it before it gives the first of them."""
MAX_NODES = 20_000
CORE = "tag:yaml.org,2002:"
PLAIN_TAGS = frozenset(CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge"))
TARGET_PROBLEM = "an import path in a configuration is code. Name a registered stage or resource with 'use'."
REFUSED_HYDRA = {
    "hydra.searchpath": "files are read from the project folder only. Put them into its conf/.",
    "hydra.job.env_copy": "it would save the environment to disk. Read a variable with ${oc.env:NAME}.",
}
OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def decoded(content: bytes, label: str) -> str | Fault:
    """The text of a file, or why it is none."""
    if len(content) > MAX_BYTES:
        return Fault(label, f"the file has {len(content)} bytes. At most {MAX_BYTES} are read.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return Fault(f"{label}:{line}", "the text is not UTF-8. Save the file as UTF-8.")


def too_deep(text: str, label: str, loader: type) -> Fault | None:
    """Found on the event stream, since composing a deep file would exhaust the stack."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, OPENING) - isinstance(event, CLOSING)
            if depth > MAX_DEPTH:
                return _deep(label, event.start_mark.line if event.start_mark else 0)
    except yaml.MarkedYAMLError as error:
        if error.problem == PARSER_DEPTH:
            return _deep(label, error.problem_mark.line if error.problem_mark else 0)
        raise
    return None


def _deep(label: str, line: int) -> Fault:
    return Fault(f"{label}:{line + 1}", f"more than {MAX_DEPTH} levels lie inside each other. Write it flatter.")


def syntax_fault(error: yaml.YAMLError, text: str, label: str) -> Fault:
    """A YAML error in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return Fault(label, f"this is no YAML: {str(error).splitlines()[0]}.")
    lines = text.splitlines() or [""]
    line = lines[min(mark.line, len(lines) - 1)]
    if "\t" in line[: mark.column + 1]:
        return Fault(f"{label}:{mark.line + 1}", "a tab stands where YAML wants spaces. Indent with spaces.")
    problem = getattr(error, "problem", None) or "a syntax error"
    return Fault(f"{label}:{mark.line + 1}", f"this is no YAML: {problem}.")


def too_large(root: yaml.Node, label: str) -> Fault | None:
    """Whether the file, with every alias written out, has too many nodes or contains itself."""
    counts: dict[int, int] = {}
    pending: set[int] = set()

    def count(node: yaml.Node) -> int:
        if id(node) in pending:
            raise RecursionError
        if id(node) not in counts:
            pending.add(id(node))
            counts[id(node)] = 1 + sum(map(count, _children(node)))
            pending.discard(id(node))
        return counts[id(node)]

    try:
        nodes = count(root)
    except RecursionError:
        return Fault(label, "an alias stands inside its own anchor. Write the value out.")
    if nodes > MAX_NODES:
        return Fault(label, f"with its aliases written out the file has over {MAX_NODES} values. Write less.")
    return None


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def content_faults(node: yaml.Node, label: str, path: tuple[str, ...] = (), key: str = "") -> Iterator[Fault]:
    """Everything that our files may not contain: duplicate and odd keys, tags, `_target_`, secrets."""
    origin = f"{label}:{node.start_mark.line + 1}"
    dotted = ".".join(path) or label
    if node.tag not in PLAIN_TAGS:
        yield Fault(dotted, f"the tag '{node.tag}' is not read. Write a plain value.", origin)
    elif isinstance(node, yaml.MappingNode):
        yield from _key_faults(node, label, path)
        for name, value in node.value:
            yield from content_faults(value, label, (*path, str(name.value)), str(name.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from content_faults(item, label, (*path, str(index)), key)
    elif node.tag not in (f"{CORE}bool", f"{CORE}null") and written_out(key, node.value):
        yield Fault(dotted, PROBLEM, origin)


def _key_faults(node: yaml.MappingNode, label: str, path: tuple[str, ...]) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        origin, dotted = f"{label}:{line}", ".".join((*path, str(key.value)))
        if not isinstance(key, yaml.ScalarNode) or key.tag not in {f"{CORE}{name}" for name in ("str", "int", "merge")}:
            shown = key.value if isinstance(key, yaml.ScalarNode) else "…"
            yield Fault(".".join(path) or label, f"the key {shown} is not a text. Put it in quotes.", origin)
        elif key.value in seen:
            problem = f"the key is written twice, first in line {seen[key.value]}. Keep one of them."
            yield Fault(dotted, problem, origin)
        elif key.value == "_target_" or dotted in REFUSED_HYDRA:
            yield Fault(dotted, REFUSED_HYDRA.get(dotted, TARGET_PROBLEM), origin)
        else:
            seen[key.value] = line
