"""`vllm-flow resume DIR`: go on with a run or a sweep that was interrupted; what has its result is not done again."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from vllm_flow.cli.run import Play, ended
from vllm_flow.cli.words import one_folder, take_flags
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import ConfigError
from vllm_flow.sweep.points import Outcome
from vllm_flow.sweep.resume import Left
from vllm_flow.sweep.settings import Sweep

HELP = """usage: vllm-flow resume DIR [--retry-errors] [--force] [--fail-fast] [--json]

Goes on with the run or the sweep in the folder DIR: only turns without a result are answered, with the configuration
that was recorded. It is refused, with what differs, when code, versions or configuration have changed since.

  --retry-errors   answer turns that failed again, but those that later turns of their conversation built on
  --force          go on although something has changed
"""
FLAGS = {
    "--retry-errors": "retry", "--force": "force", "--fail-fast": "fail_fast", "--json": "json",
    "--help": "help", "-h": "help",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, FLAGS)
    if "help" in flags:
        print(HELP, end="")
        return 0
    given, faults = one_folder(words)
    if faults:
        raise ConfigError(faults)
    left = Left.read(Path(given), "retry" in flags)
    if not left.points and not left.searching:
        print(f"{given}: nothing is left to do.", file=sys.stderr)
        return 0
    os.umask(0o077)
    with contextlib.chdir(left.directory if left.directory.is_dir() else Path.cwd()):
        if "force" not in flags and (others := _changed(left)):
            print(f"vllm-flow: {left.folder}: this is not what began:", *others, sep="\n  ", file=sys.stderr)
            print("Restore it, begin another run, or go on all the same with --force.", file=sys.stderr)
            return 2
        fail_fast = "fail_fast" in flags or (left.index is not None and left.index.fail_fast)
        outcomes = _go_on(left, fail_fast=fail_fast, as_json="json" in flags)
    return ended(outcomes)


def _go_on(left: Left, *, fail_fast: bool, as_json: bool) -> list[Outcome]:
    if left.finished:
        print(f"{left.finished} point{'' if left.finished == 1 else 's'} had finished.", file=sys.stderr)
    with Engines() as engines:
        play, outcomes = Play(as_json, engines), list[Outcome]()
        if left.points:
            with left.index or contextlib.nullcontext():
                outcomes += play(left.points, Sweep(fail_fast=fail_fast))
                if left.index and any(one.error for one in outcomes):
                    left.index.status = "failed"
        if left.searching and not (fail_fast and any(one.error or one.failed for one in outcomes)):
            outcomes += _search_on(left, play, fail_fast)
    return outcomes


def _search_on(left: Left, play: Play, fail_fast: bool) -> list[Outcome]:
    from vllm_flow.config import search_on

    return search_on(left.folder, left.project, play, ["sweep.fail_fast=true"] if fail_fast else [])


def _changed(left: Left) -> list[str]:
    from vllm_flow.config import composer

    with composer(left.project) as compose:
        return left.changed(compose)
