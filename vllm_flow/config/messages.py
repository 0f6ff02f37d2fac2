"""Messages: what Hydra and OmegaConf say, in our one form. Their texts run over many lines and name Python classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from vllm_flow.config.files import ConfigFile, find
from vllm_flow.config.groups import Group
from vllm_flow.config.written import COMMAND_LINE
from vllm_flow.core.errors import Fault, listed, nearest

NOT_FOUND = re.compile(r"(?:In '[^']*': )?Could not (?:find|load) '(?P<path>[^']*)'")
NOT_CHOSEN = re.compile(r"(?:In '(?P<parent>[^']*)': )?Could not override '(?P<key>[^']*)'")
UNGIVEN = re.compile(r"You must specify '(?P<key>[^']*)'")
TWICE = re.compile(r"Multiple values for (?P<key>[^.]*)\. To override")
SWEEP = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(?P<line>[^']*)'")
UNDELETED = re.compile(r"Could not delete (?:from config\. )?'(?P<key>[^']*)'")
IN_FILE = re.compile(r"In '?(?P<parent>[^':]*)'?: (?:\w+ raised while composing config:\n)?(?P<what>.*)")
BAD_DEFAULTS = re.compile(
    r"Invalid defaults list in '(?P<at>[^']*)'|In (?P<parent>\S*): (?:Too many|Missing group)|Unsupported .*in defaults"
)
MERGING = re.compile(r"Error merging override (?P<line>.*)", re.S)


def composition_faults(
    error: BaseException, overrides: Sequence[str], groups: Mapping[str, Group], files: Mapping[str, ConfigFile]
) -> list[Fault]:
    """Why Hydra could not compose."""
    if isinstance(error, OverrideParseException):
        return unreadable(overrides)
    if isinstance(error, RecursionError):
        return [Fault("defaults", "the defaults lists lead back to themselves. Remove one of them.")]
    text = str(error)
    if isinstance(error, MissingConfigException) and (found := NOT_FOUND.match(text)):
        return [_not_found(found["path"], error.options or (), overrides, groups, files)]
    if found := NOT_CHOSEN.match(text):
        return [_not_chosen(found["key"], found["parent"] or "", groups, files)]
    if found := UNGIVEN.match(text):
        return [_ungiven(found["key"], groups)]
    if found := TWICE.match(text):
        key = found["key"]
        return [Fault(key, f"two files choose '{key}'. Write 'override /{key}' in the later one.")]
    if found := SWEEP.match(text):
        key, _, value = found["line"].lstrip("+").partition("=")
        instead = "" if key in groups or "(" in value else f", or write [{value}] for a list"
        problem = f"{value} are several values. Add -m to run each{instead}."
        return [Fault(key, problem, COMMAND_LINE)]
    if found := UNDELETED.match(text):
        return [Fault(found["key"], "there is nothing to delete here. Leave the '~' override out.", COMMAND_LINE)]
    return [_other(error, files)]


def unreadable(overrides: Sequence[str]) -> list[Fault]:
    """Every override that Hydra's grammar refuses. The value is not repeated: it may be a secret."""
    faults = []
    for line in overrides:
        try:
            OverridesParser.create().parse_override(line)
        except HydraException:
            key, _, _ = line.partition("=")
            key = key.lstrip("+~")
            problem = f"the value cannot be read. Put it in quotes inside the shell's own: \"{key}='…'\"."
            faults.append(Fault(key, problem, COMMAND_LINE))
    return faults


def no_choice(group: str, name: str, groups: Mapping[str, Group]) -> str:
    """What to say of a choice that a group does not have."""
    names = groups[group].comments if group in groups else ()
    return f"there is no '{name}'.{nearest(name, names)} There are: {listed(names)}."


def _not_found(
    path: str,
    options: Sequence[str],
    overrides: Sequence[str],
    groups: Mapping[str, Group],
    files: Mapping[str, ConfigFile],
) -> Fault:
    group, _, name = path.rpartition("/")
    typed = any(re.fullmatch(rf"\+*{re.escape(group)}=.*", line) for line in overrides)
    origin = COMMAND_LINE if typed else default_origin(files.values(), group, name)
    if group.startswith("hydra/"):
        return Fault(group, f"there is no '{name}'.{nearest(name, options)} There are: {listed(options)}.", origin)
    if group and group not in groups:
        return _no_group(group, groups, origin)
    return Fault(group or path, no_choice(group, name, groups), origin)


def _no_group(group: str, groups: Mapping[str, Group], origin: str) -> Fault:
    return Fault(group, f"there is no group '{group}'.{nearest(group, groups)} There are: {listed(groups)}.", origin)


def default_origin(files: Iterable[ConfigFile], group: str, name: str = "") -> str:
    """The line of a defaults list that makes a choice; the files are looked at from the last one read."""
    for file in reversed(list(files)):
        for entry in file.entries:
            key = re.sub(r"^((override|optional) +)*/?", "", entry.path[-1]).partition("@")[0]
            chosen = key == group and len(entry.path) == 3 and name in ("", entry.text)
            named = bool(name) and (entry.text or "").lstrip("/") == f"{group}/{name}"
            if entry.path[0] == "defaults" and (chosen or named):
                return f"{file.label}:{entry.line}"
    return ""


def _not_chosen(key: str, parent: str, groups: Mapping[str, Group], files: Mapping[str, ConfigFile]) -> Fault:
    """A value or a choice that is to be changed, and is not there."""
    group = key.partition("@")[0]
    if "." in group:
        return Fault(key, f"nothing stands here that could be changed. Write '++{key}' to add it.", COMMAND_LINE)
    origin = default_origin([files[parent]], group) if parent in files else COMMAND_LINE
    if group not in groups:
        return _no_group(group, groups, origin)
    if "@" in key and parent in files:
        problem = f"here the choice has a longer name. Write 'override /{group}@_global_.{group}: …'."
        return Fault(group, problem, origin)
    problem = f"nothing here chooses from the group '{group}', so there is no choice to change. Leave it out."
    return Fault(group, problem, origin)


def _ungiven(key: str, groups: Mapping[str, Group]) -> Fault:
    names = groups[key].comments if key in groups else ()
    return Fault(key, f"nothing is chosen. Write {key}=NAME. There are: {listed(names)}.")


def _other(error: BaseException, files: Mapping[str, ConfigFile]) -> Fault:
    """Whatever else: its first line, and the place that Hydra names."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    text = str(error)
    if found := MERGING.match(text):
        key = found["line"].lstrip("+").partition("=")[0]
        return Fault(key, f"{_sentence(cause or error)} The value does not fit what stands there.", COMMAND_LINE)
    if found := BAD_DEFAULTS.match(text):
        problem = "'defaults' is a list with one choice per item. Write '- /group: choice' lines."
        return Fault(_label(found["parent"] or found["at"] or "defaults", files), problem)
    if found := IN_FILE.match(text):
        late = "Overrides must be at the end" in text
        problem = "an 'override' line stands before others in 'defaults'. Put the overrides last."
        return Fault(_label(found["parent"], files), problem if late else _sentence(found["what"]))
    return Fault("configuration", _sentence(cause or text))


def _label(config_path: str, files: Mapping[str, ConfigFile]) -> str:
    file = files.get(config_path) or find(config_path)
    return file.label if file else config_path


def _sentence(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return first if first.endswith((".", "?", "!")) else f"{first}."
