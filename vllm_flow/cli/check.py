"""`vllm-flow check key=value …`: everything that can be known before anything runs. Imports no torch.

One flag chooses what is shown; whatever it is, the configuration is checked, so that no drawing shows what cannot run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from vllm_flow.cli.words import is_terminal, printed, table, take_flags
from vllm_flow.core.errors import ConfigError, Fault
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.ports import type_name
from vllm_flow.core.spec import RunSpec

HEAD = ("value", "made by", "from", "type")
HELP = """usage: vllm-flow check [--graph | --svg FILE | --mermaid | --sampling [--svg FILE] | --config | --plan [-m] |
                        --schema | --json] [key=value ...]

Composes and checks a configuration as `vllm-flow` would run it: prints every fault, one line each, and exits with 2 if
there is one. What would run, but is hardly meant so, is a warning. Loads no model and runs nothing. Shows the table of
named values, in running order, or

  --graph      that table drawn: each value a lane that runs down to its readers
  --svg FILE   the drawing as a picture
  --mermaid    the drawing as Mermaid text, for a README or an issue
  --sampling   what is planned of each sampling parameter that moves, as a curve; with --svg FILE as a picture
  --config     every value in force, as YAML, with the file and line it came from
  --plan       what a run, or with -m a sweep, would do and take: points, prompt tokens, memory, time, what is done
  --schema     the JSON Schema of configuration files, for an editor
  --json       the table for other programs
"""
FLAGS = {
    "--graph": "graph", "--svg": "svg", "--mermaid": "mermaid", "--sampling": "sampling", "--config": "config",
    "--schema": "schema", "--json": "json", "--plan": "plan", "-m": "many", "--multirun": "many", "--help": "help",
    "-h": "help",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    words, files = _without_svg_files(arguments)
    flags, overrides = take_flags(words, FLAGS)
    if "help" in flags:
        print(HELP, end="")
        return 0
    _refuse_together(flags, files, overrides)
    if "schema" in flags:
        from vllm_flow.config import schema

        print(json.dumps(schema(), indent=1, ensure_ascii=not _takes_unicode()))
        return 0
    if "plan" in flags:
        from vllm_flow.cli.plan import show_plan
        from vllm_flow.config import points_for

        show_plan(points_for([*(["-m"] if "many" in flags else []), *overrides]))
        return 0
    from vllm_flow.config import compose

    spec = compose(overrides)
    if "config" in flags:  # before the check: where a wrong value comes from is then of most interest
        _print_config(spec)
    pipeline = Pipeline.build(spec)
    if "json" in flags:
        _print_json(spec, pipeline)
        return 0
    if "mermaid" in flags:
        _print_mermaid(pipeline)
    elif "config" not in flags:
        _show(spec, pipeline, files, flags)
    for fault in pipeline.advice:
        print(f"warning: {printed(str(fault))}", file=sys.stderr)
    return 0


def _show(spec: RunSpec, pipeline: Pipeline, files: Sequence[str], flags: set[str]) -> None:
    if "sampling" in flags:
        from vllm_flow.cli.sampling_shown import show_sampling

        show_sampling(pipeline, files[0] if files else None)
    elif "graph" in flags:
        _print_graph(pipeline)
    elif files:
        _write_svg(pipeline, files[0])
    else:
        _print_table(pipeline)
    count = len(list(_nodes(pipeline.graph)))
    print(f"{spec.name}: {count} node{'s' * (count > 1)}, output '{spec.output}', no faults.")


def _without_svg_files(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words, with a bare `--svg` for each `--svg FILE` or `--svg=FILE`, and the files."""
    words, files = [], []
    left = iter(arguments)
    for word in left:
        flag, equals, file = word.partition("=")
        if flag != "--svg":
            words.append(word)
            continue
        file = file if equals else next(left, "")
        if not file or (not equals and (file.startswith("-") or "=" in file)):
            problem = "the file to write is missing. Write --svg FILE, or --svg=FILE for a name with - or = in it."
            raise ConfigError([Fault("--svg", problem, "command line")])
        words.append(flag)
        files.append(file)
    return words, files


def _refuse_together(flags: set[str], files: list[str], overrides: list[str]) -> None:
    asked = [word for word, name in FLAGS.items() if name in flags - {"many"}]
    if "many" in flags and "plan" not in flags:
        raise ConfigError([Fault("-m", "one run is checked. Plan a sweep with --plan -m.", "command line")])
    if len(asked) > 1 and set(asked) != {"--sampling", "--svg"}:
        problem = "each of these flags shows something else. Choose one."
        raise ConfigError([Fault(" ".join(asked), problem, "command line")])
    if len(files) > 1:
        raise ConfigError([Fault("--svg", f"it is given {len(files)} times. Choose one file.", "command line")])
    if "schema" in flags and overrides:
        problem = f"it describes every configuration and takes no overrides. Leave out {' '.join(overrides)}."
        raise ConfigError([Fault("--schema", problem, "command line")])


def _nodes(graph: Graph, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """All nodes in running order, with their names: `tale`, and `tale/reply` for one inside it."""
    for node in graph.nodes:
        yield prefix + node.name, node
        if isinstance(node.stage, Graph):
            yield from _nodes(node.stage, f"{prefix}{node.name}/")


def _row(name: str, node: Node) -> tuple[str, str, str, str]:
    return name, node.use, ", ".join(node.reads()), type_name(node.makes)


def _print_table(pipeline: Pipeline) -> None:
    table((_row(*one) for one in _nodes(pipeline.graph)), HEAD)


def _print_json(spec: RunSpec, pipeline: Pipeline) -> None:
    shown = {
        "pipeline": spec.name,
        "output": spec.output,
        "nodes": [_as_json(name, node) for name, node in _nodes(pipeline.graph)],
        "resources": {name: one.use for name, one in pipeline.resources.items()},
        "fingerprint": spec.fingerprint,
        "warnings": [str(fault) for fault in pipeline.advice],
    }
    print(json.dumps(shown))


def _as_json(name: str, node: Node) -> dict[str, Any]:
    """A row of the table, and what has no column there."""
    when = f"{'' if node.when.wanted else 'not '}{node.when.value}" if node.when else None
    renames = {parameter: source for parameter, source in node.sources.items() if parameter != source}
    row = dict(zip(("value", "made_by", "from", "type"), _row(name, node), strict=True))
    return {**row, "renames": renames, "each": node.each, "when": when}


def _print_graph(pipeline: Pipeline) -> None:
    from rich.console import Console
    from rich.text import Text

    from vllm_flow.cli.drawing.picture import Picture
    from vllm_flow.cli.drawing.terminal import can_show, drawn, in_plain

    console = Console(highlight=False)
    lines = drawn(Picture.of(pipeline), *((console.width,) if is_terminal(sys.stdout) else ()))
    if is_terminal(sys.stdout) and can_show(lines, sys.stdout.encoding):
        drawing = Text("\n").join(Text.assemble(*((span.text, span.style) for span in line)) for line in lines)
        console.print(drawing, no_wrap=True, overflow="ellipsis")
    else:
        print(in_plain(lines, sys.stdout.encoding))


def _print_mermaid(pipeline: Pipeline) -> None:
    from vllm_flow.cli.drawing.mermaid import to_mermaid
    from vllm_flow.cli.drawing.picture import Picture

    print(to_mermaid(Picture.of(pipeline)), end="")


def _print_config(spec: RunSpec) -> None:
    from vllm_flow.cli.values_shown import with_origins

    print(with_origins(spec, ascii_only=not _takes_unicode()), end="")


def _takes_unicode() -> bool:
    return sys.stdout.encoding.lower().startswith("utf")


def _write_svg(pipeline: Pipeline, path: str) -> None:
    from vllm_flow.cli.drawing.picture import Picture
    from vllm_flow.cli.drawing.svg import to_svg, write_svg

    write_svg(to_svg(Picture.of(pipeline)), path)
