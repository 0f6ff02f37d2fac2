"""`vllm-flow completion SHELL`: a script that makes Tab complete in a shell.

The script knows nothing and asks the command: `completion --words SHELL …` answers with the words that fit, one a
line, each with a tab and what it is for. So a project's own pipelines and stages complete as the shipped ones do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from vllm_flow.cli.completing.scripts import SCRIPTS
from vllm_flow.cli.words import take_flags
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

HELP = """usage: vllm-flow completion bash | zsh | fish

Prints a script that completes commands, flags, keys and their values with Tab. To have it in every new shell:

  bash   echo 'eval "$(vllm-flow completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(vllm-flow completion zsh)"' >> ~/.zshrc
  fish   echo 'vllm-flow completion fish | source' >> ~/.config/fish/config.fish
"""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--words"]:
        _answer(arguments[1:])
        return 0
    flags, words = take_flags(arguments, {"--help": "help", "-h": "help"})
    if "help" in flags or not words:
        print(HELP, end="")
        return 0
    if len(words) > 1 or words[0] not in SCRIPTS:
        near = nearest(words[0], SCRIPTS) if len(words) == 1 else ""
        problem = f"it takes one shell.{near} There are: {listed(SCRIPTS)}."
        raise ConfigError([Fault(f"completion {' '.join(words)}", problem)])
    _write(SCRIPTS[words[0]])
    return 0


def _answer(asked: Sequence[str]) -> None:
    """Whatever is wrong, a person who types must not see it: then there is nothing to complete."""
    try:
        from vllm_flow.cli.completing.candidates import candidates

        shell, *given = asked
        if shell == "bash":
            from vllm_flow.cli.completing.bash_line import BashLine

            line = BashLine.of(*given)
            found = [line.replacement(one) for one in candidates(line.words, line.current)]
        else:
            found = [f"{one.text}\t{one.line}" for one in candidates(given[:-1], given[-1])]
    except Exception:  # a project's files may hold anything, and the folder may be gone
        return
    _write("".join(f"{line}\n" for line in found if "\n" not in line))


def _write(text: str) -> None:
    """As bytes: file names need not be text, and a script has the same line ends everywhere."""
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.flush()
