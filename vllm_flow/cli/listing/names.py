"""Names: all that a file or a command line can name, by kind, each with its one line. Runs no code of a project.

A bare name is enough: `greedy` for `sampling/greedy`, `temperature` for `sampling.temperature`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from vllm_flow.cli.words import kind_of
from vllm_flow.config import groups
from vllm_flow.config.own_parts import own_parts
from vllm_flow.core import plugins, registry
from vllm_flow.core.describe import Option, options_of, paragraphs

PARTS = {
    "stages": registry.stage, "resources": registry.resource, "sources": registry.source, "measures": registry.metric,
    "schedules": registry.schedule, "functions": registry.tool,
}  # fmt: skip
TOP_KEYS = ("seed", "concurrency", "output")
Kinds = dict[str, dict[str, str]]
"""Kind → name → its one line."""


def choices() -> Kinds:
    """All that can be chosen or used."""
    plugins.load_built_in()
    found = {kind_of(group): dict(names) for group, names in groups().items()}
    found |= {kind: {entry.name: entry.summary for entry in known} for kind, known in PARTS.items()}
    for part in own_parts():
        kind = next(kind for kind, known in PARTS.items() if known.kind == part.kind)
        found[kind].setdefault(part.name, part.summary)
    found["plugins"] = {point.name: package(point) for point in entry_points(group=plugins.GROUP)}
    return {kind: dict(sorted(names.items())) for kind, names in found.items()}


def others() -> Kinds:
    """What nobody chooses, keys and reserved words: a name is theirs only where it is nobody else's."""
    from vllm_flow.config import keys as known

    lines = {name: paragraphs(option.doc).partition("\n")[0] for name, option in keys().items()}
    return {"keys": lines, "words": known.WORDS}


def group_of(kind: str) -> str | None:
    """The group whose choices are of this kind; None for other kinds."""
    return next((group for group in groups() if kind_of(group) == kind), None)


def package(point: EntryPoint) -> str:
    """What an installed plugin is, without importing it."""
    if point.dist is None:
        return point.value
    about = point.dist.metadata
    return " ".join(str(about[word]) for word in ("Name", "Version", "Summary") if word in about)


def keys() -> dict[str, Option]:
    """What `key=value` can set, apart from nodes, which differ from pipeline to pipeline."""
    from vllm_flow.config.keys import ABOUT
    from vllm_flow.core.ranges import RANGES
    from vllm_flow.core.sampling import Sampling
    from vllm_flow.core.spec import RunSpec
    from vllm_flow.models.spec import Architecture, Model
    from vllm_flow.sweep.settings import Search, Sweep

    top = {option.name: option for option in options_of(RunSpec)}
    found = {name: dataclasses.replace(top[name], doc=ABOUT[name]) for name in TOP_KEYS}
    for place, cls in (
        ("sweep", Sweep),
        ("sweep.search", Search),
        ("sampling", Sampling),
        ("model", Model),
        ("model.architecture", Architecture),
    ):
        found |= {f"{place}.{option.name}": option for option in options_of(cls)}
    for name in RANGES:
        option = found[f"sampling.{name}"]
        found[f"sampling.{name}"] = dataclasses.replace(option, takes=f"{option.takes}, or a schedule")
    for group, names in groups().items():
        for choice in names:
            found |= {f"{group}.{option.name}": option for option in _options(f"{group}/{choice}")}
    return dict(sorted(found.items()))


def _options(config_path: str) -> Iterator[Option]:
    """The options of the part that a file configures, but for those that it takes whole from elsewhere."""
    from vllm_flow.config.outline import contents

    values = contents(config_path)[1]
    entries = (known.find(str(values.get("use"))) for known in PARTS.values())
    for entry in entries:
        for option in options_of(entry.cls) if entry else ():
            if not str(values.get(option.name)).startswith("${"):
                yield option


def find(word: str, kinds: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Kind and name of everything that has this name."""
    word, places, found = word.replace("=", "/", 1), {kind_of(group): group for group in groups()}, []
    for kind, names in kinds.items():
        whole = [name for name in names if word in (name, f"{kind}/{name}", f"{places.get(kind)}/{name}")]
        ends = [name for name in names if name.endswith((f"/{word}", f".{word}", f":{word}"))]
        found += [(kind, name) for name in whole or ends]
    return found
