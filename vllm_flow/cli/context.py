"""`vllm-flow context VERB`: look after the conversations that a store keeps, that of the chat unless told otherwise.

The store is found as the chat finds it, in the composed configuration, and opened with no pipeline around it: no model
is needed, and nothing is deleted because it is old, unless that is what was asked for.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_flow.cli.words import kept_in_a_file, take_flags
from vllm_flow.core.errors import ConfigError, Fault, FlowError, StoreError, listed, nearest

if TYPE_CHECKING:
    from vllm_flow.core.archive import Archive
    from vllm_flow.core.gate import Gate

HELP = """usage: vllm-flow context ls [--json]
       vllm-flow context show NAME [--all] [--json]
       vllm-flow context search WORD ... [--json]
       vllm-flow context title NAME WORD ...
       vllm-flow context fork NAME NEW [NUMBER]
       vllm-flow context export FILE [NAME ...]
       vllm-flow context import FILE
       vllm-flow context delete NAME ...
       vllm-flow context prune [--dry-run]

Looks after conversations: those in outputs/conversations.sqlite, where the chat keeps them, unless key=value behind the
words says otherwise, such as store.path=FILE.

  ls       the conversations, the one written last first
  show     what was said in one of them
  search   messages with all the words, each at its beginning; "in quotes" one behind the other; Chinese anywhere
  title    call it so
  fork     a copy under a new name, up to turn NUMBER or whole; both go on by themselves
  export   all of them, or some, as jsonl: a conversation a line, with the state after each turn; - is stdout;
           what was taken back stays behind
  import   what was exported; a conversation that is there already stays as it is; - is stdin
  delete   for good, with what was taken back
  prune    delete those in which nothing was said for store.keep_days

  --all      with what was taken back
  --dry-run  delete nothing, and say what would be
  --json     the same as data
  --         the words behind it are no key=value
"""
ANY_MEDIA = {"use": "media/files"}
"""Where none is configured."""
OVERRIDE = re.compile(r"[+~]*[A-Za-z_][\w./@:-]*=.*", re.DOTALL)
FLAGS = {"--json": "json", "--all": "all", "--dry-run": "dry", "--help": "help", "-h": "help"}


@dataclass(frozen=True, slots=True)
class Opened:
    """What a verb works with."""

    store: Archive
    flags: set[str]
    keep_days: float | None
    """As configured; the store was opened without it."""
    gate: Gate
    """What an import shows enters through it."""


@dataclass(frozen=True, slots=True)
class Verb:
    words: str
    """What stands behind it, as the usage says."""
    least: int
    most: int | None
    flags: frozenset[str] = frozenset()
    makes: bool = False
    """Whether there need be no file yet."""


VERBS = {
    "ls": Verb("", 0, 0, frozenset({"json"})),
    "show": Verb("NAME", 1, 1, frozenset({"json", "all"})),
    "search": Verb("WORD ...", 1, None, frozenset({"json"})),
    "title": Verb("NAME WORD ...", 2, None),
    "fork": Verb("NAME NEW [NUMBER]", 2, 3),
    "export": Verb("FILE [NAME ...]", 1, None),
    "import": Verb("FILE", 1, 1, makes=True),
    "delete": Verb("NAME ...", 1, None),
    "prune": Verb("", 0, 0, frozenset({"dry"})),
}


def main(arguments: list[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    flags, words = take_flags([word for word in arguments[:split] if word != "-"], FLAGS)
    if "help" in flags or not words:
        print(HELP, end="")
        return 0
    name, overrides = words[0], [word for word in words[1:] if OVERRIDE.fullmatch(word)]
    said = [word for word in arguments[:split] if word not in (*overrides, *FLAGS)][1:] + arguments[split + 1 :]
    verb = _checked(name, said, flags)
    os.umask(0o077)
    options, gate = _options(overrides)
    keep_days = getattr(options, "keep_days", None)
    with closing(_open(options, makes=verb.makes)) as store:
        return _function(name)(Opened(store, flags, keep_days, gate.open()), said)


def _checked(name: str, said: Sequence[str], flags: set[str]) -> Verb:
    verb = VERBS.get(name)
    if verb is None:
        problem = f"there is no such verb.{nearest(name, VERBS)} There are: {listed(VERBS)}."
        raise ConfigError([Fault(f"context {name}", problem)])
    faults = []
    if not verb.least <= len(said) <= (len(said) if verb.most is None else verb.most):
        takes = f"Write: vllm-flow context {name} {verb.words}".rstrip()
        given = "1 word stands" if len(said) == 1 else f"{len(said)} words stand"
        faults.append(Fault(f"context {name}", f"{given} behind it. {takes}"))
    for flag in sorted(flags - verb.flags):
        word = next(spelling for spelling, one in FLAGS.items() if one == flag)
        those = [other for other, one in VERBS.items() if flag in one.flags]
        faults.append(Fault(f"context {name}", f"{word} means nothing to it. It is for: {listed(those)}."))
    if faults:
        raise ConfigError(faults)
    return verb


def _function(name: str) -> Callable[[Opened, list[str]], int]:
    from vllm_flow.cli import keeping

    function: Callable[[Opened, list[str]], int] = getattr(keeping, f"{name}_")
    return function


def _options(overrides: Sequence[str]) -> list[Any]:
    """The options of the configured store, and of the gate for images and sounds. Raises ConfigError."""
    from vllm_flow.config import compose
    from vllm_flow.core import registry
    from vllm_flow.core.parts import Parts

    spec = compose(kept_in_a_file(overrides))
    parts, both = Parts(spec), list[Any]()
    parts.load()
    for name, entry in (("store", spec.resources["store"]), ("media", spec.resources.get("media", ANY_MEDIA))):
        path = ("resources", name)
        found = parts.find(path, registry.resource, entry)
        given = {key: value for key, value in entry.items() if key != "use"} if isinstance(entry, dict) else {}
        both.append(parts.instance(path, found, given) if found else None)
        if both[-1] is None or any(place[:2] == path for place, _ in parts.faults):
            raise parts.error()
    return both


def _open(options: Any, *, makes: bool) -> Archive:
    """The store, and nothing in it is deleted for its age. Raises StoreError when there is nothing to look after."""
    from vllm_flow.core.archive import Archive

    if getattr(options, "volatile", False):
        raise StoreError("store: it ends with its process, so nothing is kept in it. Choose store=sqlite.")
    file = getattr(options, "file", None)
    if file is not None and not file.exists() and not makes:
        advice = "Talk with `vllm-flow chat`, or name the file with store.path=FILE."
        raise StoreError(f"{file}: no conversation is kept there yet. {advice}")
    if any(field.name == "keep_days" for field in dataclasses.fields(options)):
        options = dataclasses.replace(options, keep_days=None)
    store = options.open()
    if not isinstance(store, Archive):
        if callable(close := getattr(store, "close", None)):
            close()
        problem = f"store: a {type(store).__name__} cannot list its conversations"
        raise FlowError(f"{problem}. Choose an Archive, such as store=sqlite.")
    return store
