"""Long steps before the first token, shown: a bar for what has a size, a line for what has none. All on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vllm_flow.cli.words import is_terminal
from vllm_flow.models.progress import observed_by

MEGABYTE = 1_000_000


@contextmanager
def loading_shown() -> Iterator[None]:
    """Show downloads and conversions while the block runs."""
    if is_terminal(sys.stderr):
        with _bars():
            yield
    else:
        with observed_by(_line):
            yield


def _line(step: str, done: int, total: int) -> None:
    """Where there is no terminal, one line when a step begins."""
    if done == 0:
        size = f" ({total / MEGABYTE:.0f} MB)" if total >= MEGABYTE else ""
        print(f"{step}{size}, once", file=sys.stderr, flush=True)


@contextmanager
def _bars() -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    running: dict[str, tuple[Progress, TaskID]] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in running:
            progress = Progress(*columns, console=Console(stderr=True))
            progress.start()
            running[step] = progress, progress.add_task(step, total=total if total > 1 else None)
        progress, task = running[step]
        progress.update(task, completed=done, total=max(done, total) if total > 1 or done == total else None)
        if done >= total:
            progress.stop()
            del running[step]

    with observed_by(show):
        try:
            yield
        finally:
            for progress, _ in running.values():
                progress.stop()
