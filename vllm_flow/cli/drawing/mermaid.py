"""The drawing as Mermaid text, for a README or an issue: GitHub and many editors draw it.

A pipeline used as a stage is a subgraph; wires end at its frame, because Mermaid forgets a subgraph's own direction as
soon as a wire enters it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vllm_flow.cli.drawing.picture import Item, Kind, Picture, Wire

SHAPES: dict[Kind, tuple[str, str]] = {
    "given": ("([", "])"),
    "resource": ("[(", ")]"),
    "value": ("[", "]"),
    "output": ("[", "]"),
    "effect": ("{{", "}}"),
}
CLASSES: dict[Kind, str] = {
    "given": "stroke-dasharray:4 3",
    "resource": "stroke:#862e9c,stroke-width:1.5px",
    "value": "stroke-width:1.5px",
    "output": "stroke:#2b8a3e,stroke-width:4px",
    "effect": "stroke-dasharray:1 2",
}
SPECIAL = re.compile(r"[^\w ()\[\]|.,:/-]", re.ASCII)
"""What a label does not hold as it is, so that the text is ASCII and no name can end its label."""


def to_mermaid(picture: Picture) -> str:
    """The text of a flowchart, with a newline at its end."""
    used = dict.fromkeys(item.kind for item in picture.everything())
    classes = [f"classDef {kind} {CLASSES[kind]}" for kind in CLASSES if kind in used]
    return "\n".join(["flowchart TB", *(f"  {line}" for line in (*_lines(picture, "n"), *classes))]) + "\n"


def _lines(picture: Picture, prefix: str) -> Iterator[str]:
    names = {item.name: _identifier(item, f"{prefix}{number}") for number, item in enumerate(picture.items)}
    for number, item in enumerate(picture.items):
        yield from _node(item, names[item.name], f"{prefix}{number}_")
    for item in picture.items:
        for wire in item.wires:
            yield f"{names[wire.source]} -->{_on(wire)} {names[item.name]}"


def _node(item: Item, name: str, below: str) -> Iterator[str]:
    if item.inside is None:
        left, right = SHAPES[item.kind]
        words = (item.name, item.use) if item.kind == "effect" else (item.name, item.use, item.type)
        yield f'{name}{left}"{"<br/>".join(map(_escaped, words))}"{right}:::{item.kind}'
        return
    yield f'subgraph {name}["{_escaped(item.name)}: {_escaped(item.use)}"]'
    yield "  direction TB"
    yield from (f"  {line}" for line in _lines(item.inside, below))
    yield "end"
    yield f"class {name} {item.kind}"


def _on(wire: Wire) -> str:
    return f'|"{_escaped(wire.label)}"|' if wire.label else ""


def _identifier(item: Item, prefix: str) -> str:
    """Unique by its number, readable by its name, and no word of Mermaid's own, such as `end`."""
    return f"{prefix}_{re.sub('[^0-9A-Za-z]+', '_', item.name)}"


def _escaped(text: str) -> str:
    return SPECIAL.sub(lambda found: f"#{ord(found[0])};", text)
