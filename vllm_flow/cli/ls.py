"""`vllm-flow ls [KIND | NAME …]`: what can be chosen, with one line each, and everything about one name.

Listing reads and imports nothing of a project or a plugin; explaining a stage imports the one file that registers it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from vllm_flow.cli.words import OTHER_KINDS, is_terminal, json_line, table, take_flags
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

HELP = """usage: vllm-flow ls [--json] [KIND | NAME ...]

Lists what can be chosen, with one line each, or explains what is named.

KIND  pipelines, models, engines, samplings, contexts, stores, inputs, metrics, clocks, documents, facts, retrievals,
      embedders, readers, taggers, transcribers, tools, webs, media, experiments: files to choose with group=name;
      stages, resources, sources, measures: what a `use` may name; schedules: what a sampling parameter may follow;
      functions: what `tools` may offer a model; plugins: packages that bring more; keys: what key=value can set;
      words: those reserved in a node. Without a word everything but the last two.
NAME  a choice (greedy, or sampling/greedy), what a `use` names (select/vote), a schedule (linear), a key
      (temperature, or sampling.temperature), a function (weather; functions/clock, since clock is a kind), a reserved
      word (each): options, ports and an example; values and file.

  --json   the same as data
"""
HEAD = ("kind", "name", "what it is")
NEXT = """
`vllm-flow ls NAME` explains one of them.
`vllm-flow ls keys` lists what key=value can set."""
Kinds = Mapping[str, Mapping[str, str]]


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, {"--json": "json", "--help": "help", "-h": "help"})
    if "help" in flags:
        print(HELP, end="")
        return 0
    from vllm_flow.cli.listing import names

    for word in words:
        if ":" in word:
            from vllm_flow.cli.listing.imports import import_plugin

            import_plugin(word)
    kinds: Kinds = names.choices()
    meant = {word: _meant(word, kinds) for word in words} if words else {kind: kind for kind in kinds}
    if not all(meant.values()):  # a key or a reserved word: looking these up takes longer, and they come last
        kinds = {**kinds, **names.others()}
        meant = {word: one or _meant(word, kinds) for word, one in meant.items()}
    if strange := [word for word, one in meant.items() if not one]:
        raise ConfigError(Fault(f"ls {word}", _unknown(word, kinds)) for word in strange)
    asked = [one for one in meant.values() if isinstance(one, str)]
    told = {word: one for word, one in meant.items() if not isinstance(one, str)}
    _print({kind: kinds[kind] for kind in asked}, told, as_json="json" in flags)
    if not words and is_terminal(sys.stdout):
        print(NEXT)
    return 0


def _meant(word: str, kinds: Kinds) -> str | list[tuple[str, str]]:
    """The kind that a word is, in the plural or not, or else kind and name of all that it can mean."""
    from vllm_flow.cli.listing import names

    kind = next((kind for kind in (word, f"{word}s") if kind in kinds or kind in OTHER_KINDS), None)
    return names.find(word, kinds) if kind is None else kind if kind in kinds else []


def _unknown(word: str, kinds: Kinds) -> str:
    known = {*kinds, *(name for some in kinds.values() for name in some)}
    return f"nothing has this name.{nearest(word, known)} Kinds: {listed(kinds)}; `vllm-flow ls KIND` lists the names."


def _print(kinds: Kinds, told: Mapping[str, list[tuple[str, str]]], *, as_json: bool) -> None:
    """The lines of kinds, then everything about names."""
    if told:
        from vllm_flow.cli.listing.about import about

        abouts = {word: [about(*one) for one in found] for word, found in told.items()}
    else:
        abouts = {}
    if as_json:
        print(json_line({**kinds, **abouts}))
        return
    rows = [(kind, name, line) for kind, names in kinds.items() for name, line in names.items()]
    if rows:
        table(rows, HEAD)
    if told:
        from vllm_flow.cli.listing.explained import explain

        explain([one for some in abouts.values() for one in some])
