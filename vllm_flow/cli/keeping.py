"""What each verb of `vllm-flow context` does, given the open store and the words behind it. Each gives an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO

from vllm_flow.cli.context import Opened
from vllm_flow.cli.words import json_line, printed, table, visible
from vllm_flow.core.archive import Archive, Conversation
from vllm_flow.core.codec import to_json
from vllm_flow.core.errors import ConfigError, Fault, FlowError, StoreError, nearest
from vllm_flow.core.files import replaced
from vllm_flow.core.resources import StoredTurn
from vllm_flow.stores.kept_json import kept_of, line_of, row_to_show
from vllm_flow.stores.retention import days_ago, expired, prune, quiet_for
from vllm_flow.stores.words import Query

HEAD = ("conversation", "turns", "last written", "title")
FOUND = 50
"""Messages that a search shows."""


def ls_(opened: Opened, _: Sequence[str]) -> int:
    found = opened.store.conversations()
    if "json" in opened.flags:
        print(json_line([_data(one) for one in found]))
    else:
        table(map(_row, found), HEAD)
    return 0


def show_(opened: Opened, words: Sequence[str]) -> int:
    (name,) = _known(opened.store, words)
    kept = opened.store.dump(name)
    back = opened.store.taken_back(name) if "all" in opened.flags else ()
    if "json" in opened.flags:
        taken_back = {"taken_back": to_json(back)} if "all" in opened.flags else {}
        print(json_line({**row_to_show(kept), **taken_back}))
        return 0
    print(f"{printed(kept.title)} ({printed(name)}), last written {_time(kept.written)}")
    for one in kept.turns:
        _print_turn(StoredTurn(one.turn, one.reply))
    if back:
        print("\nTaken back:")
    for stored in back:
        _print_turn(stored)
    return 0


def search_(opened: Opened, words: Sequence[str]) -> int:
    text = " ".join(f'"{word}"' if " " in word and '"' not in word else word for word in words)
    found = opened.store.search(text, FOUND + 1)
    shown = found[:FOUND]
    if "json" in opened.flags:
        print(json_line(to_json(shown)))
    else:
        query, rows = Query.of(text), list[tuple[str, ...]]()
        for one in shown:
            piece = printed(query.around(one.message.text))
            rows.append((printed(one.conversation), str(one.number), one.message.role, piece))
        table(rows, ("conversation", "turn", "who", "message"))
    if len(found) > FOUND:
        print(f"There are more than these {FOUND}. Give another word.", file=sys.stderr)
    return 0 if found else 1


def title_(opened: Opened, words: Sequence[str]) -> int:
    (name,) = _known(opened.store, words[:1])
    opened.store.set_title(name, " ".join(words[1:]))
    return 0


def fork_(opened: Opened, words: Sequence[str]) -> int:
    number = None
    if len(words) == 3:
        if not words[2].isdecimal():
            raise ConfigError([Fault("context fork", f"'{words[2]}' is no number of a turn. Write one, such as 3.")])
        number = int(words[2])
    (name,) = _known(opened.store, words[:1])
    opened.store.fork(name, words[1], number)
    print(f"{printed(words[1])}: a copy of {printed(name)}. `vllm-flow chat -c {printed(words[1])}` goes on with it.")
    return 0


def export_(opened: Opened, words: Sequence[str]) -> int:
    file, names = words[0], _known(opened.store, words[1:])
    names = names or [one.name for one in reversed(opened.store.conversations())]  # as they were written
    problems: list[str] = []
    with ExitStack() as closing:
        to = sys.stdout if file == "-" else closing.enter_context(replaced(_fresh(file)))
        count = sum(_export(opened.store, name, to, problems) for name in names)
    print(f"Exported {_so_many(count, 'conversation')}.", file=sys.stderr)
    return _told(problems)


def import_(opened: Opened, words: Sequence[str]) -> int:
    problems: list[str] = []
    loaded = [_import(opened, line, where, problems) for where, line in _lines(words[0])]
    there = loaded.count(False)
    already = f"; {there} {'was' if there == 1 else 'were'} there already" if there else ""
    print(f"Imported {_so_many(loaded.count(True), 'conversation')}{already}.", file=sys.stderr)
    return _told(problems)


def delete_(opened: Opened, words: Sequence[str]) -> int:
    problems = []
    for name in _known(opened.store, words):
        if opened.store.delete(name):
            print(f"Deleted {printed(name)}.", file=sys.stderr)
        else:
            problems.append(f"conversation {name!r}: it is not stored here, so nothing was deleted.")
    return _told(problems)


def prune_(opened: Opened, _: Sequence[str]) -> int:
    if opened.keep_days is None:
        problem = "it is null, so everything is kept. Give a number of days, such as store.keep_days=90."
        raise ConfigError([Fault("store.keep_days", problem)])
    before, dry = days_ago(opened.keep_days), "dry" in opened.flags
    found = expired(opened.store, before) if dry else prune(opened.store, before)
    table(map(_row, found), HEAD)
    would = "would be deleted" if dry else "deleted"
    which = quiet_for(opened.keep_days)
    print(f"{_so_many(len(found), 'conversation')} {would}, in which {which}.", file=sys.stderr)
    return 0


def _data(one: Conversation) -> dict[str, object]:
    return {"name": one.name, "title": one.title, "turns": one.turns, "written": one.written.isoformat()}


def _known(store: Archive, names: Sequence[str]) -> list[str]:
    """The names, when all of them are there. Raises StoreError that tells all that are not."""
    try:
        there = [one.name for one in store.conversations()] if names else []
    except StoreError:  # one that is damaged must not keep others, nor what mends it, from being done
        return list(names)
    if strange := [name for name in names if name not in there]:
        told = (f"conversation {name!r}: it is not stored here.{nearest(name, there)}" for name in strange)
        raise StoreError("\n".join((*told, "`vllm-flow context ls` lists what is.")))
    return list(names)


def _row(one: Conversation) -> tuple[str, str, str, str]:
    return printed(one.name), str(one.turns), _time(one.written), printed(one.title)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _so_many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _print_turn(stored: StoredTurn) -> None:
    said: list[tuple[str, str]] = [(one.role, one.shown) for one in (*stored.turn.history, stored.turn.message)]
    if stored.reply is None:
        said.append(("", "(not answered)"))
    else:
        cut = " (interrupted)" if stored.reply.finish_reason == "interrupted" else ""
        said.append(("assistant", f"{stored.reply.text}{cut}"))
    print()
    for place, (role, text) in enumerate(said):
        number = "" if place else str(stored.turn.number)
        print(f"{number:>4} {role:<9} {visible(text)}".replace("\n", f"\n{'':15}"))


def _fresh(file: str) -> Path:
    try:
        path = Path(file).expanduser()
    except RuntimeError as error:  # there is no such user
        raise FlowError(f"{file}: {error} Write the folder out.") from None
    if path.exists():
        raise FlowError(f"{file}: it exists. Choose another name.")
    return path


def _export(store: Archive, name: str, to: IO[str], problems: list[str]) -> bool:
    """Whether it was: one that is damaged must not keep the others from being saved."""
    try:
        to.write(line_of(store.dump(name)) + "\n")
    except StoreError as error:
        problems.append(str(error))
        return False
    return True


def _lines(file: str) -> Iterator[tuple[str, str]]:
    """Where each line stands, and the line; empty ones are left out."""
    with ExitStack() as closing:
        if file == "-":
            sys.stdin.reconfigure(encoding="utf-8", errors="strict")  # type: ignore[union-attr]
            lines: Iterable[str] = sys.stdin
        else:
            lines = closing.enter_context(_opened(file))
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{file}:{number}", line
        except UnicodeDecodeError:
            raise FlowError(f"{file}: it is not UTF-8. Give a file that `vllm-flow context export` wrote.") from None


def _opened(file: str) -> IO[str]:
    try:
        return Path(file).expanduser().open(encoding="utf-8")
    except (OSError, RuntimeError, ValueError) as error:  # ~nobody, a zero byte
        what = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise FlowError(f"{file}: {what}. Give a file that `vllm-flow context export` wrote.") from None


def _import(opened: Opened, line: str, where: str, problems: list[str]) -> bool | None:
    """Whether it was not there before; None when it could not be taken."""
    try:
        return opened.store.load(kept_of(line, opened.gate))
    except (StoreError, ValueError) as error:
        problems.append(f"{where}: {error}")
        return None


def _told(problems: Sequence[str]) -> int:
    for problem in problems:
        print(printed(problem), file=sys.stderr)
    return 1 if problems else 0
