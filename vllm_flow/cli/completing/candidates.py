"""Candidates: what may stand where the cursor is. For a shell's Tab, so it must answer at once and imports little."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_flow.cli import COMMANDS
from vllm_flow.cli.completing.key_tree import Leaf, Tree, below, dotted, key_tree, parts, schedule_names, schedules
from vllm_flow.cli.completing.scripts import SCRIPTS
from vllm_flow.cli.words import OTHER_KINDS, kind_of
from vllm_flow.config.groups import OPTIONAL, Group, read_groups

SIGNS = "+~"
NOT_LISTED = ("graph.", "resources.", "metrics.")
"""Keys that differ from pipeline to pipeline: completed where they are typed, and nothing that `ls` explains."""
FLAG = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
EXPLAINED = re.compile(r"\s+(-[\w, -]+?)( [A-Z]+)?\s{2,}(.*)")
EXAMPLE = re.compile(r"^  (\w+) +(.+)$", re.MULTILINE)
"""A line of init's help."""
VERB = re.compile(r"^  ([a-z]+) +([a-z].+)$", re.MULTILINE)
"""A line of context's help."""
TEXTS = ("text", "system")
"""Options that take free text, or the name of a file behind `@`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A whole word, and what it is for."""

    text: str
    about: str = ""

    @property
    def line(self) -> str:
        return self.about.partition("\n")[0]

    @property
    def is_open(self) -> bool:
        """Whether the word goes on: a key without its value, a folder without a file."""
        return self.text.endswith(("=", ".", "/"))


def candidates(words: Sequence[str], current: str) -> list[Candidate]:
    """What can take the place of `current` after these words, the name of the program not among them."""
    found: dict[str, Candidate] = {}
    for one in _all(words, current):
        if one.text.startswith(current):
            found.setdefault(one.text, one)
    return list(found.values())


def _all(words: Sequence[str], current: str) -> Iterator[Candidate]:
    command, rest = (words[0], list(words[1:])) if words and words[0] in COMMANDS else ("run", list(words))
    text = help_of(command)
    if not words:
        yield from (Candidate(name, about) for name, about in COMMANDS.items())
    if command == "init" and rest[-1:] == ["--example"]:
        yield from (Candidate(*found) for found in EXAMPLE.findall(text))
    elif rest and re.search(rf"{re.escape(rest[-1])} [A-Z]+", text) and rest[-1].startswith("-"):
        yield from _files("", current)
    elif current.startswith("-") and "=" in current:
        flag, _, file = current.partition("=")
        yield from _files(f"{flag}=", file)
    elif current.startswith("-"):
        yield from (one for one in _flags(text) if one.text not in rest)
        yield from () if words else (Candidate("--version", "the version of vllm-flow"),)
    elif command == "ls":
        yield from _names()
    elif command == "completion":
        yield from (Candidate(shell) for shell in SCRIPTS if not rest)
    elif command == "models":
        yield from _models(rest)
    elif command == "context":
        yield from _conversations(rest, current)
        yield from (one for one in _overrides(["store=sqlite", *rest], current) if one.text.startswith("store"))
    elif command == "chat" and rest[-1:] in (["-c"], ["--continue"]):
        yield from (Candidate(*one) for one in _names_kept(rest))
        yield from _overrides(rest, current)
    elif command == "replay" and "--change" not in rest:
        yield from _files("", current)
    elif "key=value" in text:
        yield from _overrides(rest, current)
    else:
        yield from _files("", current)


def help_of(command: str) -> str:
    """What `--help` says, read from the source: importing a command takes up to 0.2 s."""
    source = (Path(__file__).parents[1] / f"{command}.py").read_text(encoding="utf-8")
    found = re.search(r'^HELP = """(.*?)"""', source, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def _flags(text: str) -> Iterator[Candidate]:
    """Those that the help explains in a line of their own, then those that the usage names."""
    for line in text.splitlines():
        if found := EXPLAINED.fullmatch(line):
            yield from (Candidate(flag, found[3]) for flag in FLAG.findall(found[1]))
    yield from (Candidate(flag) for flag in FLAG.findall(text.partition("\n\n")[0]))
    yield Candidate("--help", "how it is used")


def _models(rest: Sequence[str]) -> Iterator[Candidate]:
    from vllm_flow.models.packages import PACKAGES

    if not rest:
        yield from (Candidate("ls", "the packaged weights"), Candidate("pull", "fetch and convert them"))
    elif rest == ["pull"]:
        yield from (Candidate(name, one.summary) for name, one in PACKAGES.items())


def _conversations(rest: Sequence[str], current: str) -> Iterator[Candidate]:
    """Verbs, and what stands behind each."""
    from vllm_flow.cli.context import VERBS

    verb, *words = [word for word in rest if "=" not in word and not word.startswith("-")] or [""]
    if not verb:
        yield from (Candidate(name, about) for name, about in VERB.findall(help_of("context")) if name in VERBS)
    elif verb in ("export", "import") and not words:
        yield from _files("", current)
    elif verb in ("export", "delete") or (verb in ("show", "title", "fork") and not words):
        yield from (Candidate(*one) for one in _names_kept(rest) if one[0] not in words)


def _names_kept(rest: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each conversation in the file that the words choose, with its title."""
    from vllm_flow.config.outline import contents
    from vllm_flow.stores.sqlite import Sqlite

    chosen = [word.partition("=")[2] for word in rest if word.startswith("store.path=")]
    yield from Sqlite(str([contents("store/sqlite")[1]["path"], *chosen][-1])).names().items()


def _names() -> Iterator[Candidate]:
    """What `ls` lists and explains."""
    from vllm_flow.config.keys import WORDS

    groups = read_groups()
    yield from (Candidate(kind) for kind in (*map(kind_of, groups), *OTHER_KINDS))
    yield from (Candidate(name, about) for group in groups.values() for name, about in group.comments.items())
    yield from (Candidate(name, about) for name, about in (parts() | schedule_names()).items())
    yield from (Candidate(name, leaf.about) for name, leaf in dotted(key_tree({})) if not name.startswith(NOT_LISTED))
    yield from (Candidate(word, about) for word, about in WORDS.items())


def _overrides(rest: Sequence[str], current: str) -> Iterator[Candidate]:
    key, equals, value = current.lstrip(SIGNS).partition("=")
    sign = current[: len(current) - len(current.lstrip(SIGNS))]
    groups, made = read_groups(), [word.lstrip(SIGNS).partition("=") for word in rest]
    tree = key_tree({group: name.rpartition(",")[2] for group, _, name in made if group in groups})
    if not equals:
        found = _keys(tree, groups, key.rpartition(".")[0])
    elif key in groups:
        nothing = {"null": "none of them"} if key in OPTIONAL else {}
        choices = {**groups[key].comments, **nothing}
        found = (Candidate(f"{key}={text}", about) for text, about in _listed(value, choices))
    else:
        found = (Candidate(f"{key}={one.text}", one.about) for one in _values(tree, key, value))
    yield from (Candidate(f"{sign}{one.text}", one.about) for one in found)


def _keys(tree: Tree, groups: Mapping[str, Group], place: str) -> Iterator[Candidate]:
    """The keys directly below a place; those that go deeper end with a dot."""
    if not place:
        yield from (Candidate(f"{name}=", f"one of: {', '.join(sorted(one.comments))}") for name, one in groups.items())
    for name, inner in below(tree, tuple(place.split(".")) if place else ()).items():
        key = f"{place}.{name}" if place else name
        if isinstance(inner, Leaf):
            yield Candidate(f"{key}=", inner.about)
        elif inner:
            yield Candidate(f"{key}.", ", ".join(inner))


def _values(tree: Tree, key: str, value: str) -> Iterator[Candidate]:
    *place, name = key.split(".")
    leaf = below(tree, tuple(place)).get(name)
    if not isinstance(leaf, Leaf):
        return
    if name in TEXTS and value.startswith("@"):
        yield from _files("@", value[1:])
    elif leaf.is_file:
        yield from _files("", value)
    if leaf.moves and value.startswith("{"):
        yield from (Candidate(text, about) for text, about in schedules().items())
    yield from (Candidate(text) for text, _ in _listed(value, dict.fromkeys(leaf.values, "")))


def _listed(value: str, choices: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """One choice, or behind a comma one more for a sweep."""
    head, comma, _ = value.rpartition(",")
    made = head.split(",")
    yield from ((f"{head}{comma}{name}", about) for name, about in choices.items() if name not in made)


def _files(before: str, typed: str) -> Iterator[Candidate]:
    """The files of the folder that was typed so far; hidden ones when their dot was typed."""
    folder, slash, start = typed.rpartition("/")
    try:
        inside = sorted(os.scandir(Path(folder + slash or ".").expanduser()), key=lambda entry: entry.name)
    except (OSError, ValueError, RuntimeError):  # not there, a zero byte, ~nobody
        return
    for entry in inside:
        if start.startswith(".") or not entry.name.startswith("."):
            yield Candidate(f"{before}{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}")
