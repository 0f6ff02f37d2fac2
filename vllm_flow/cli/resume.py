"""`vllm-flow resume DIR`: go on with a run or a sweep that was interrupted; what has its result is not done again."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vllm_flow.cli.run import Play, ended
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import ConfigError, Fault, listed
from vllm_flow.sweep.points import Outcome
from vllm_flow.sweep.resume import Left
from vllm_flow.sweep.settings import Sweep

HELP = """usage: vllm-flow resume DIR [--retry-errors] [--force] [--fail-fast] [--json]

Goes on with the run or the sweep in the folder DIR: only turns without a result are answered, with the configuration
that was recorded. It is refused, with what differs, when code, versions or configuration have changed since.

  --retry-errors   answer turns that failed again, but those that later turns of their conversation built on
  --force          go on although something has changed
"""
FLAGS = ("--retry-errors", "--force", "--fail-fast", "--json")


def main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(HELP, end="")
        return 0
    flags, folders = _read(arguments)
    left = Left.read(Path(folders[0]), "--retry-errors" in flags)
    if not left.points and not left.searching:
        print(f"{folders[0]}: nothing is left to do.", file=sys.stderr)
        return 0
    os.umask(0o077)
    with contextlib.chdir(left.directory if left.directory.is_dir() else Path.cwd()):
        if "--force" not in flags and (faults := _changed(left)):
            print(f"vllm-flow: {left.folder}: this is not what began:", *faults, sep="\n  ", file=sys.stderr)
            print("Restore it, begin another run, or go on all the same with --force.", file=sys.stderr)
            return 2
        outcomes = _go_on(left, fail_fast="--fail-fast" in flags, as_json="--json" in flags)
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


def _read(arguments: Sequence[str]) -> tuple[set[str], list[str]]:
    flags = {one for one in arguments if one.startswith("-")}
    folders = [one for one in arguments if not one.startswith("-")]
    faults = [Fault(one, f"there is no flag '{one}'. There are: {listed(FLAGS)}.") for one in sorted(flags - {*FLAGS})]
    if len(folders) != 1:
        faults.append(Fault("DIR", f"{len(folders)} folders are named. Name one, that of a run or a sweep."))
    if faults:
        raise ConfigError(faults)
    return flags, folders
