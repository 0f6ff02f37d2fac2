"""What a conversation costs under each context policy: tokens read for each turn, and how many of them a prefix cache had.

    python tests/bench/context_cost.py [--turns 200] [policy ...]

A policy is a name, or overrides with commas between them, such as `window,context.step=4`. The model has random weights:
what is counted does not depend on what it says. Prints, for each fourth of the conversation, the mean of what a turn
reads, what of it was cached, and what is left to be computed; requests that the policy makes itself are in all three.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from vllm_flow.config import compose
from vllm_flow.core.events import Event, Inferred
from vllm_flow.core.messages import user
from vllm_flow.core.values import Turn
from vllm_flow.session import Session

POLICIES = [
    "full",
    "window",
    "window,context.step=4",
    "window,context.turns=null,context.tokens=1200",
    "sink",
    "sink,context.step=3",
    "summary",
    "facts",
    "facts,context.place=first",
    "story",
]
WORDS = "the old lighthouse keeper counts every ship that passes the long grey island before winter".split()  # noqa: SIM905
MODEL = [
    "engine=transformers",
    "model=custom",
    "model.architecture.max_context=32768",
    "resources.engine.dtype=float32",
]


@dataclass
class Counted:
    """Tokens of each turn."""

    read: list[int] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Inferred):
            while len(self.read) < (event.turn.number or 0):
                self.read.append(0)
                self.cached.append(0)
            self.read[-1] += event.usage.prompt_tokens or 0
            self.cached[-1] += event.cached_tokens


def said(number: int) -> str:
    return " ".join(WORDS[(number * 5 + place) % len(WORDS)] for place in range(6 + number % 5)) + f" {number}?"


def counted(policy: str, turns: int) -> Counted:
    name, *options = policy.split(",")
    found = Counted()
    words = ["pipeline=dialogue", f"context={name}", *options, *MODEL, "sampling=greedy", "sampling.max_tokens=48"]
    with Session(compose(words), record=False, observers=[found]) as session:
        for number in range(1, turns + 1):
            remember = {"city": "Oslo"} if number == 1 and name == "facts" else {}
            session.run(Turn("long", user(said(number)), remember=remember))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="*", default=POLICIES)
    parser.add_argument("--turns", type=int, default=200)
    given = parser.parse_args()
    for policy in given.policies:
        found, part = counted(policy, given.turns), given.turns // 4
        print(policy)
        for start in range(0, 4 * part, part):
            read, cached = (sum(some[start : start + part]) / part for some in (found.read, found.cached))
            turns = f"turns {start + 1:3} to {start + part:3}"
            print(f"  {turns}: reads {read:7.0f}, cached {cached:7.0f}, computes {read - cached:7.0f}", flush=True)


if __name__ == "__main__":
    main()
