"""`vllm-flow check --sampling`: what is planned of the sampling parameters, drawn on the screen or into a file."""

from __future__ import annotations

import sys

from vllm_flow.cli.words import is_terminal
from vllm_flow.core.pipeline import Pipeline

PIPED = 80
"""How wide it is where nobody knows the width."""


def show_sampling(pipeline: Pipeline, file: str | None) -> None:
    """Raises ConfigError where a schedule gives what its parameter cannot be, or the file cannot be written."""
    from vllm_flow.cli.drawing.plans import plans

    found = plans(pipeline)
    if file is not None:
        from vllm_flow.cli.drawing.curves_svg import curves_to_svg
        from vllm_flow.cli.drawing.svg import write_svg

        write_svg(curves_to_svg(pipeline.name, found), file)
        return
    from rich.console import Console
    from rich.text import Text

    from vllm_flow.cli.drawing.curves import drawn, to_ascii
    from vllm_flow.cli.drawing.terminal import can_show, in_plain

    console = Console(highlight=False)
    screen = is_terminal(sys.stdout)
    lines = drawn(found, console.width if screen else PIPED)
    if not can_show(lines, sys.stdout.encoding):
        print(to_ascii(in_plain(lines, "utf-8")))
    elif screen:
        drawing = Text("\n").join(Text.assemble(*((span.text, span.style) for span in line)) for line in lines)
        console.print(drawing, soft_wrap=True)
    else:
        print(in_plain(lines, sys.stdout.encoding))
