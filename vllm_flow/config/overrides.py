"""Overrides: what a user types, rewritten into what Hydra's grammar accepts.

Value overrides get `++`, since our schemas find typos that Hydra cannot; a group's name stands for the place where its
values go (`engine.device` is `resources.engine.device`); free text is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vllm_flow.config.groups import IMPLIED_INPUT, OPTIONAL, Group
from vllm_flow.config.keys import ONE_PLACE, TOP, unknown_key
from vllm_flow.config.limits import REFUSED_HYDRA, TARGET_PROBLEM
from vllm_flow.config.secrets import PROBLEM, written_out
from vllm_flow.config.written import COMMAND_LINE
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

LINE = re.compile(r"(?P<sign>~|\+{0,2})(?P<key>[^=+~][^=]*)(?P<equals>=?)(?P<value>.*)", re.S)
TEXT_KEYS = frozenset({"text", "system", "pattern"})
LISTS = ("model.layers",)
"""Keys whose text may have commas in it, and may be `null`."""
PLACE_KEYS = frozenset({"path", "gguf", "adapter"})
AWKWARD = re.compile(r"[^\w./:\\ +%-]", re.ASCII)
"""What Hydra's grammar takes amiss, or may, in the name of a file."""
PLAIN_CHOICES = re.compile(r"[\w./-]+(,[\w./-]+)*")
SWEEP_FUNCTIONS = ("choice(", "glob(", "range(", "shuffle(", "sort(", "tag(", "interval(")
INNER = re.compile(r"(?P<key>[\w.]+)['\"]?\s*:\s*(?P<value>'[^']*'|\"[^\"]*\"|\$\{[^}]*\}|[^,{}\[\]]*)")
MAX_TEXT_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Given:
    """One override as typed."""

    sign: str
    key: str
    value: str | None
    verbatim: bool = False
    """Free text in it is quoted where it has to be."""

    def fault(self, problem: str) -> Fault:
        return Fault(self.key, problem, COMMAND_LINE)


def rewrite(overrides: Iterable[str], groups: Mapping[str, Group], *, typed: bool = True) -> list[str]:
    """The overrides as Hydra wants them. Raises ConfigError with everything that is wrong with them.

    Not `typed` are those that come from a sweeper: their values stand in Hydra's grammar already, escapes and all.
    """
    faults: list[Fault] = []
    given = [one for one in (_read(line, faults) for line in overrides) if one is not None]
    lines: list[str] = []
    for one in given:
        found = [*(_secrets(one) if typed else ()), *_targets(one)]
        result = found[0] if found else _rewritten(one if typed else replace(one, verbatim=True), groups)
        faults.append(result) if isinstance(result, Fault) else lines.append(result)
    lines += _implied_input(given)
    if faults:
        raise ConfigError(faults)
    return lines


def _read(line: str, faults: list[Fault]) -> Given | None:
    found = LINE.fullmatch(line)
    if found is None or (found["sign"] != "~" and not found["equals"]) or found["key"].startswith("."):
        kind = "a flag, which does not belong here" if line.startswith("-") else "no override"
        faults.append(Fault(line, f"this is {kind}. Write key=value.", COMMAND_LINE))
        return None
    return Given(found["sign"], found["key"].strip(), found["value"] if found["equals"] else None)


def _rewritten(one: Given, groups: Mapping[str, Group]) -> str | Fault:
    top, _, below = one.key.partition(".")
    if top == "hydra" or top.startswith("hydra/"):
        refused = next((why for key, why in REFUSED_HYDRA.items() if one.key.startswith(key)), None)
        return one.fault(refused) if refused else _line(one.sign, one.key, one.value)
    group, relocated, _ = one.key.partition("@")
    if relocated and group in groups:
        return one.fault(f"{ONE_PLACE} Write {group}=NAME, or the other values out.")
    if one.key in groups:
        return _choice(one, groups)
    if top in groups:
        place = groups[top].place
        if not place:
            return one.fault(f"the group '{top}' has no values of its own. Write the key itself: {below}=….")
        return _value(one, ".".join((*place, below)))
    if top in TOP:
        return _value(one, one.key)
    if "/" in one.key:
        problem = f"there is no group '{one.key}'.{nearest(one.key, groups)} There are: {listed(groups)}."
        return one.fault(problem)
    unknown = unknown_key(top, groups, COMMAND_LINE)
    return Fault(one.key, unknown.problem, COMMAND_LINE)


def _choice(one: Given, groups: Mapping[str, Group]) -> str | Fault:
    names = groups[one.key].comments
    value = (one.value or "").strip()
    if one.sign == "~":
        return _line("~", one.key, one.value) if one.key in OPTIONAL else one.fault(_needed(one.key))
    if PLAIN_CHOICES.fullmatch(value):
        nothing = {"null"} if one.key in OPTIONAL else set()
        for name in value.split(","):
            if name not in names and name not in nothing:
                return one.fault(f"there is no '{name}'.{nearest(name, names)} There are: {listed(names)}.")
    elif not value.startswith(SWEEP_FUNCTIONS):
        return one.fault(f"a group takes the name of a choice. There are: {listed(names)}.")
    if value == "null":
        return _line("~", one.key, None)  # Hydra takes no null for a choice, but lets it be deleted
    return _line("", one.key, value)


def _needed(key: str) -> str:
    return f"no run can do without '{key}'. Give another value instead: {key}=…."


def _value(one: Given, key: str) -> str | Fault:
    if one.sign == "~":
        return one.fault(_needed(key)) if key in TOP else _line("~", key, one.value)
    value, last = one.value or "", key.rpartition(".")[2]
    if last in PLACE_KEYS and not one.verbatim and AWKWARD.search(value) and not _stands(value) and "," not in value:
        value = quoted(value)
    if key.endswith(LISTS) and not one.verbatim and value != "null" and not _stands(value):
        value = quoted(value)
    if last in TEXT_KEYS and not one.verbatim:
        text = _text(one, value)
        if isinstance(text, Fault):
            return text
        value = text
    return _line("++", key, value)


def _line(sign: str, key: str, value: str | None) -> str:
    return f"{sign}{key}" if value is None else f"{sign}{key}={value}"


def _text(one: Given, value: str) -> str | Fault:
    """Free text as one quoted value; `@file` is the file's text, `@@` an at sign."""
    if _stands(value):
        return value
    if value.startswith("@@"):
        return quoted(value[1:])
    if not value.startswith("@"):
        return quoted(value)
    try:
        content = Path(value[1:]).expanduser().read_bytes()
        if len(content) > MAX_TEXT_BYTES:
            return one.fault(f"the file '{value[1:]}' has over {MAX_TEXT_BYTES} bytes. Give it as rows: input.path=….")
        return quoted(content.decode("utf-8-sig").rstrip("\r\n"))
    except UnicodeDecodeError:
        return one.fault(f"the file '{value[1:]}' is not UTF-8. Save it as UTF-8.")
    except OSError:
        problem = f"the file '{value[1:]}' cannot be read. Name a file after '@', or write '@@' for an at sign."
        return one.fault(problem)


def _stands(value: str) -> bool:
    """Whether it is in Hydra's grammar as it stands: a sweep, an interpolation, or quoted already."""
    if value.startswith(SWEEP_FUNCTIONS) or re.fullmatch(r"\$\{[^{}]*\}", value):
        return True
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def quoted(text: str) -> str:
    """Text that stands for itself, in Hydra's grammar and to OmegaConf, whatever characters it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    escaped = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)
    return QuotedString(escaped, Quote.single).with_quotes()


def _secrets(one: Given) -> Iterator[Fault]:
    """A secret on the command line, in a value or inside a mapping; found before anything parses it or writes it."""
    if one.value is None:
        return
    last = re.split(r"[./@]", one.key)[-1]
    bare = one.value.strip("'\"")
    if written_out(last, bare) and bare.lower() not in ("null", "true", "false"):
        yield Fault(one.key, PROBLEM, COMMAND_LINE)
    if last in TEXT_KEYS or "{" not in one.value.replace("${", ""):
        return
    for inner in INNER.finditer(one.value):
        value = inner["value"].strip().strip("'\"")
        if written_out(inner["key"], value) and value.lower() not in ("null", "true", "false"):
            yield Fault(f"{one.key}.{inner['key']}", PROBLEM, COMMAND_LINE)


def _targets(one: Given) -> Iterator[Fault]:
    last = one.key.rpartition(".")[2]
    if "_target_" in one.key or (last not in TEXT_KEYS and "_target_" in (one.value or "")):
        yield one.fault(TARGET_PROBLEM)


def _implied_input(given: Sequence[Given]) -> list[str]:
    """`input.path=…` means the file input, `input.text=…` alone the text input: beside a path it is a template.

    An image and a sound are to a text what a column of them is to its template.
    """
    if any(one.key == "input" for one in given):
        return []
    keys = {one.key for one in given if one.sign != "~"}
    return [f"input={name}" for key, name in IMPLIED_INPUT.items() if key in keys][:1]
