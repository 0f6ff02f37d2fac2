"""How long a person waits: `--help`, `check`, and process start to the first token. Medians, each beside a peer.

    python tests/bench/startup.py [--rounds 5]

The peers, measured in turn with the command in the same run: a bare interpreter for `--help`; one that imports Hydra,
OmegaConf and jsonschema for `check`; one that imports torch and transformers' Llama class for the first token.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

COMMAND = [sys.executable, "-m", "vllm_flow"]
IMPORTS = "from transformers.models.llama import LlamaForCausalLM; import tokenizers"


def whole(arguments: list[str]) -> Callable[[str], float]:
    """Seconds from start to end of a process."""

    def run(folder: str) -> float:
        started = time.perf_counter()
        subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - started

    return run


def first_token(folder: str) -> float:
    """Seconds from process start to the first character of the reply on stdout."""
    arguments = [*COMMAND, "input.text=Name a colour.", "sampling.max_tokens=4", "sampling=greedy"]
    started = time.perf_counter()
    with subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while not os.read(process.stdout.fileno(), 1).strip():
            if process.poll() is not None:
                raise SystemExit("the run gave no reply; run `vllm-flow models pull smollm2` first")
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cases = {
        "--help": (whole([*COMMAND, "--help"]), whole([sys.executable, "-c", "pass"])),
        "check": (
            whole([*COMMAND, "check", "pipeline=dialogue"]),
            whole([sys.executable, "-c", "import hydra, omegaconf, jsonschema"]),
        ),
        "first token": (first_token, whole([sys.executable, "-c", IMPORTS])),
    }
    print(f"{'':12} {'median s':>9} {'peer s':>9} {'ratio':>6}   of {rounds} rounds after a warm-up")
    with tempfile.TemporaryDirectory() as folder:
        for name, (ours, peer) in cases.items():
            ours(folder), peer(folder)
            pairs = [(ours(folder), peer(folder)) for _ in range(rounds)]
            mine, theirs = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
            print(f"{name:12} {mine:9.3f} {theirs:9.3f} {mine / theirs:6.2f}")


if __name__ == "__main__":
    main()
