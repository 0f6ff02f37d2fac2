"""`vllm-flow ls [KIND]`: what can be chosen, with one line each."""

from __future__ import annotations

import json

from vllm_flow.cli.words import table, take_flags
from vllm_flow.core import plugins, registry
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

HELP = """usage: vllm-flow ls [--json] [KIND]

KIND is a group of the configuration (pipelines, models, engines, samplings, contexts, stores, inputs, experiments) or
what a `use` may name (stages, resources). Without KIND everything is listed.
"""


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, {"--json": "json", "--help": "help", "-h": "help"})
    if "help" in flags:
        print(HELP, end="")
        return 0
    kinds = everything()
    asked = words or sorted(kinds)
    strange = [word for word in asked if word not in kinds]
    if strange:
        raise ConfigError(
            Fault(f"ls {word}", f"there is no such kind.{nearest(word, kinds)} There are: {listed(kinds)}.")
            for word in strange
        )
    if "json" in flags:
        print(json.dumps({kind: kinds[kind] for kind in asked}, ensure_ascii=False))
        return 0
    table([(kind, name, line) for kind in asked for name, line in kinds[kind].items()], ("kind", "name", "what it is"))
    return 0


def everything() -> dict[str, dict[str, str]]:
    """Kind → name → its one line."""
    from vllm_flow.config import groups

    plugins.load_built_in()
    found = {_plural(group): dict(choices) for group, choices in groups().items()}
    found["stages"] = {entry.name: entry.summary for entry in registry.stage}
    found["resources"] = {entry.name: entry.summary for entry in registry.resource}
    return found


def _plural(group: str) -> str:
    return group if group.endswith("s") else f"{group}s"
