"""A whole sweep as a user starts it: 16 sampling points of 8 prompts, 64 tokens each, SmolLM2 in bfloat16.

    python tests/bench/sweep.py [--rounds 3] [--points-alone 3]

Three ways, from the start of the process to its end, each with a record for every point: `vllm-flow -m`, all points at
once; Hydra's basic launcher and `generate`, one point after the other, the model loaded once; and one `vllm-flow` process
for each point, of which some are measured and the rest reckoned. Then what a point costs that answers at once (200 of
them, engine `echo`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from vllm_flow.models.pull import pull

TEMPERATURES, TOP_PS = (0.3, 0.7, 1.0, 1.3), (0.5, 0.8, 0.9, 0.95)
POINTS = len(TEMPERATURES) * len(TOP_PS)
PROMPTS, TOKENS = 8, 64
OURS = [sys.executable, "-m", "vllm_flow"]
PEER = [sys.executable, str(Path(__file__).with_name("sweep_peer.py"))]


def seconds(command: Sequence[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


def listed(values: Sequence[float]) -> str:
    return ",".join(map(str, values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points-alone", type=int, default=3, help="how many single processes are measured a round")
    given = parser.parse_args()
    model = pull("smollm2")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        with rows.open("w", encoding="utf-8") as file:
            for place in range(PROMPTS):
                text = f"Request {place}. Write a story about a dog. Take your time."
                file.write(json.dumps({"id": str(place), "messages": [{"role": "user", "content": text}]}) + "\n")
        length = [f"sampling.max_tokens={TOKENS}", f"sampling.min_tokens={TOKENS}"]
        common = [f"input.path={rows}", "engine.dtype=bfloat16", *length]
        swept = [f"sampling.temperature={listed(TEMPERATURES)}", f"sampling.top_p={listed(TOP_PS)}"]
        theirs = [f"folder={model}", f"rows={rows}", f"temperature={listed(TEMPERATURES)}", f"top_p={listed(TOP_PS)}"]
        fast = ["engine.deterministic=false"]
        cases = {
            "vllm-flow -m": lambda: seconds([*OURS, "-m", *common, *swept], folder),
            "the same, deterministic=false": lambda: seconds([*OURS, "-m", *common, *fast, *swept], folder),
            "Hydra and generate": lambda: seconds([*PEER, "-m", *theirs], folder),
            "a process for each point": lambda: alone(common, folder, given.points_alone),
        }
        took: dict[str, list[float]] = {case: [] for case in cases}
        print(f"load {os.getloadavg()[0]:.1f}; seconds, and how many times those of vllm-flow -m")
        for _ in range(given.rounds):
            for case, measure in cases.items():
                took[case].append(measure())
        for case, found in took.items():
            ratios = [one / own for one, own in zip(found, took["vllm-flow -m"], strict=True)]
            print(f"{case:32} {statistics.median(found):7.1f} s   {statistics.median(ratios):5.2f}", flush=True)
        many = "sampling.temperature=range(0,2,0.01)"
        of_one = seconds([*OURS, "-m", "engine=echo", "input.text=hi", "sampling.temperature=0.1,0.2"], folder)
        of_many = seconds([*OURS, "-m", "engine=echo", "input.text=hi", many], folder)
        print(f"{'one point more, engine echo':32} {(of_many - of_one) / 198:7.3f} s")


def alone(common: Sequence[str], folder: Path, measured: int) -> float:
    pairs = [(t, p) for t in TEMPERATURES for p in TOP_PS][:: POINTS // measured][:measured]
    found = [seconds([*OURS, *common, f"sampling.temperature={t}", f"sampling.top_p={p}"], folder) for t, p in pairs]
    return statistics.mean(found) * POINTS


if __name__ == "__main__":
    main()
