"""`vllm-flow replay RUN`: a recorded run once more: shown as it was, computed again, or run again with a change."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import aclosing, chdir, contextmanager
from pathlib import Path

from vllm_flow.cli.progress import loading_shown
from vllm_flow.cli.screen import Screen
from vllm_flow.cli.watching import shown, summary
from vllm_flow.cli.words import json_line, take_flags, visible
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import ConfigError, Fault, RecordError
from vllm_flow.core.files import new_folder
from vllm_flow.core.record import Record
from vllm_flow.core.recorded import Recorded, read
from vllm_flow.core.runner import Runner
from vllm_flow.core.values import Turn
from vllm_flow.replay.again import Recalled, answered_again, in_memory, turns_of
from vllm_flow.replay.change import changed
from vllm_flow.replay.differences import Difference
from vllm_flow.replay.story import events_as_they_came, rows_as_they_came
from vllm_flow.replay.verify import Verdict, Verification

HELP = """usage: vllm-flow replay RUN [--json]
       vllm-flow replay RUN --verify [--json]
       vllm-flow replay RUN --change key=value ... [--json]

Shows a recorded run as it was, from its folder alone: no model and no stage is loaded. RUN is the folder of a run, or
of one point of a sweep.

  --verify   compute every answer again in the recorded configuration, with the time clocks told then, and name the
             first stage, turn and token that differ; exit code 1 if any does
  --change   run the recorded turns again with these values in place of the recorded ones, into a new record:
             --change sampling.temperature=0.3, or a whole table: --change 'engine={use: engine/echo}'
  --json     JSON lines on stdout: the results, or with --verify what came of it
"""
FLAGS = {"--json": "json", "--verify": "verify", "--change": "change", "--help": "help", "-h": "help"}
RUNS = Path("outputs/runs")


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, FLAGS)
    if "help" in flags:
        print(HELP, end="")
        return 0
    folder, changes = _meant(flags, words)
    recorded = read(folder)
    if "verify" in flags:
        return _verify(recorded, as_json="json" in flags)
    if "change" in flags:
        return _change(recorded, changes, as_json="json" in flags)
    return _serve(recorded, as_json="json" in flags)


def _meant(flags: set[str], words: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The folder, and the changes. Raises ConfigError."""
    if not words:
        raise ConfigError([Fault("replay", "no run is named. Write replay RUN, such as replay outputs/runs/…/….")])
    folder, *more = words
    if "change" in flags and "verify" in flags:
        problem = "--verify is for the configuration as it was. Leave out one of --change and --verify."
        raise ConfigError([Fault("replay", problem)])
    if "change" in flags and not more:
        raise ConfigError([Fault("--change", "nothing is to change. Write key=value behind it.")])
    if more and "change" not in flags:
        raise ConfigError([Fault(one, "replay takes one folder. Changes stand behind --change.") for one in more])
    return Path(folder).resolve(), more


def _serve(recorded: Recorded, *, as_json: bool) -> int:
    """Exit code 1 where the run's was: when turns failed."""
    if as_json:
        failed = 0
        for row in rows_as_they_came(recorded):
            failed += row["failure"] is not None
            print(json_line(row))
        return 1 if failed else 0
    screen = Screen()
    for event in events_as_they_came(recorded):
        screen(event)
    screen.status(f"\n{summary(screen.done - screen.failed, screen.failed)}: {shown(recorded.folder)}")
    return 1 if screen.failed else 0


def _verify(recorded: Recorded, *, as_json: bool) -> int:
    with _where_it_ran(recorded), Engines() as engines:
        verification = Verification(recorded, engines)
        with loading_shown(), verification.runner, asyncio.Runner() as loop:
            verdict = loop.run(verification.verdict())
        uses = {name: entry.get("use", "") for name, entry in recorded.spec.graph.items()}
    if not verdict.compared:
        raise RecordError(f"{recorded.folder}: there is no answer to compute again{_why_not(verdict)}.")
    if as_json:
        differing = [dataclasses.asdict(one) for one in verdict.differing]
        told = {"compared": verdict.compared, "equal": verdict.equal, "differing": differing}
        print(json_line({**told, "left_out": verdict.left_out, "notes": verdict.notes}))
    else:
        for line in _lines(verdict, uses):
            print(visible(line))
    return 1 if verdict.differing else 0


def _lines(verdict: Verdict, uses: dict[str, str]) -> Iterator[str]:
    if not verdict.differing:
        yield f"all {verdict.compared} answers equal" if verdict.compared > 1 else "the answer is equal"
    else:
        yield f"{verdict.equal} of {verdict.compared} answers equal. The first that is not:"
        yield from _of_difference(verdict.differing[0], uses)
    yield from (f"not computed again: {count}, for {why}" for why, count in verdict.left_out.items())
    yield from (f"note: {note}." for note in verdict.notes)


def _of_difference(one: Difference, uses: dict[str, str]) -> Iterator[str]:
    use = uses.get(one.node.partition("/")[0].partition("[")[0], "")
    stage = f"graph.{one.node}{f' ({use})' if use else ''}, " if one.node else ""
    yield f"{stage}turn {one.turn} of {one.conversation}: {one.what}."
    if one.recorded or one.now:
        yield f"  was  {one.recorded!r}"
        yield f"  now  {one.now!r}"


def _why_not(verdict: Verdict) -> str:
    return "".join(f"; {count} are left out, for {why}" for why, count in verdict.left_out.items())


def _change(recorded: Recorded, words: Sequence[str], *, as_json: bool) -> int:
    os.umask(0o077)  # a record is its owner's alone
    screen = Screen(as_json=as_json)
    with _where_it_ran(recorded), Engines() as engines:
        spec = in_memory(changed(recorded.spec, words))
        turns = turns_of(recorded)
        for why, count in turns.left_out.items():
            screen.status(f"not run again: {count}, for {why}")
        last = {(row["conversation"], row["turn"]): row for row in turns.rows}  # of several tries
        asked = [recorded.turn(row) for row in last.values()]
        runner = Runner(spec, engines, recall=Recalled(recorded.calls()))
        about = {"replayed": {"folder": str(recorded.folder), "changes": list(words)}}
        with Record(new_folder(Path.cwd() / RUNS, f"{spec.name}-changed"), spec, about=about) as record:
            runner.observers = (record, screen)
            with loading_shown(), runner, asyncio.Runner() as loop:
                loop.run(_to_the_end(runner, asked))
    screen.say_ways()
    screen.status(f"\n{summary(record.answered, record.failed)}: {shown(record.folder)}")
    return 1 if screen.failed else 0


async def _to_the_end(runner: Runner, turns: list[Turn]) -> None:
    async with aclosing(answered_again(runner, turns)) as results:
        async for _ in results:
            pass


@contextmanager
def _where_it_ran(recorded: Recorded) -> Iterator[None]:
    """In the folder that the run was started in, if it is still there: files are named from there."""
    folder = Path(str(recorded.run.get("directory", "")))
    if not recorded.run.get("directory") or not folder.is_dir():
        yield
        return
    with chdir(folder):
        yield
