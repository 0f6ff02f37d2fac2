"""Needles: how often a model says right, at turn 100, what it was told at turn 3, under each context policy.

    python tests/bench/needle.py [--turns 100] [--needles 20] [--seed 0] [--override KEY=VALUE] [policy ...]

A policy is a name, or overrides with commas between them, such as `facts,context.turns=4`. What stands between needle and
question is small talk with answers that are written here, so that every policy sees the same conversation; what a policy
asks of the model, and the last answer, are the model's own, drawn greedily. Prints for each policy how many needles were
in the prompt at the end, how many answers have them, and the tokens of the prompts. `none` is a control: no needle is
told, and what is answered right nevertheless is luck.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from vllm_flow.config import compose
from vllm_flow.core.events import Event, Inferred, NodeDone
from vllm_flow.core.messages import Message, assistant, user
from vllm_flow.core.values import Turn
from vllm_flow.session import Session

POLICIES = ["full", "window", "sink", "summary", "facts", "none"]
TOLD_AT = 3
NEEDLES = [
    ("My locker code is {}.", "What is my locker code?", ["4821", "7350", "1968", "6204"]),
    ("My dog is called {}.", "What is my dog called?", ["Biscuit", "Pepper", "Waffles", "Rufus"]),
    ("The wifi password at the cabin is {}.", "What is the wifi password at the cabin?", ["bluefish", "redmaple"]),
    ("My sister lives in {}.", "Where does my sister live?", ["Oslo", "Lima", "Nairobi", "Dublin"]),
    ("My doctor's name is {}.", "What is my doctor's name?", ["Lindqvist", "Okafor", "Tanaka"]),
    ("I parked the car on level {}.", "On which level did I park the car?", ["3", "5", "9"]),
    ("My favourite colour is {}.", "What is my favourite colour?", ["turquoise", "orange", "violet"]),
    ("My train leaves at {}.", "When does my train leave?", ["7:45", "9:20", "6:05"]),
    ("My brother works as a {}.", "What does my brother work as?", ["carpenter", "nurse", "pilot"]),
    ("I am allergic to {}.", "What am I allergic to?", ["peanuts", "shellfish", "pollen"]),
]
TALK = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How do I boil an egg?", "Put it into boiling water for about eight minutes."),
    ("Tell me something about rain.", "Rain forms when water vapour in clouds becomes heavy drops."),
    ("Thanks, that was helpful.", "You are welcome."),
    ("What is a good name for a boat?", "You could call it Sea Breeze."),
    ("How many days has a leap year?", "A leap year has 366 days."),
    ("Why is the sky blue?", "Air scatters blue light more than red light."),
    ("Can you suggest a film for tonight?", "A comedy would be nice for a quiet evening."),
    ("How far away is the moon?", "It is about 384,000 kilometres away."),
    ("What do owls eat?", "Owls eat mice, insects and small birds."),
    ("I had soup for lunch today.", "That sounds warm and tasty."),
    ("How do I clean a window?", "Use warm water with a little vinegar and a dry cloth."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
    ("It was windy this morning.", "Wind often comes before a change of weather."),
    ("What is the largest ocean?", "The Pacific is the largest ocean."),
    ("Give me a word that rhymes with tree.", "Sea rhymes with tree."),
    ("How long does bread keep?", "Fresh bread keeps for two to three days."),
]


@dataclass(frozen=True)
class Needle:
    told: str
    question: str
    value: str


@dataclass
class Watch:
    """Of the last answers: what they read; and how many tokens were read for each conversation."""

    prompts: dict[str, str] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    own: int = 0
    """Requests that the policy made."""

    def __call__(self, event: Event) -> None:
        match event:
            case NodeDone(turn, "prompt", value):
                self.prompts[turn.conversation] = "\n".join(message.text for message in value.messages)
            case Inferred(node="reply", usage=usage):
                self.tokens.append(usage.prompt_tokens or 0)
            case Inferred():
                self.own += 1


def needles(count: int, seed: int) -> list[Needle]:
    every = [Needle(told.format(one), asked, one) for told, asked, values in NEEDLES for one in values]
    return random.Random(seed).sample(every, count)


def history(needle: Needle | None, turns: int, seed: int) -> Iterator[Message]:
    """What was said in the turns before the last."""
    drawn = random.Random(seed)
    for number in range(1, turns):
        asked, answered = drawn.choice(TALK)
        if number == TOLD_AT and needle is not None:
            asked, answered = needle.told, "All right."
        yield user(asked)
        yield assistant(answered)


def tried(policy: str, hidden: list[Needle], turns: int, overrides: list[str]) -> str:
    name, *options = policy.split(",")
    told = name != "none"
    watch, started = Watch(), time.perf_counter()
    words = [f"context={name if told else 'full'}", *options, "sampling=greedy", "sampling.max_tokens=40", *overrides]
    asked = [
        Turn(f"needle-{place}", user(one.question), tuple(history(one if told else None, turns, place)), index=place)
        for place, one in enumerate(hidden)
    ]
    with Session(compose(["pipeline=dialogue", *words]), record=False, observers=[watch]) as session:
        answers = [result.text for result in session.run(asked)]
    there = sum(one.value in watch.prompts[turn.conversation] for one, turn in zip(hidden, asked, strict=True))
    right = sum(one.value.casefold() in answer.casefold() for one, answer in zip(hidden, answers, strict=True))
    for one, answer in zip(hidden, answers, strict=True):
        print(f"    {one.question} {one.value!r}: {' '.join(answer.split())[:100]!r}", flush=True)
    took, tokens = time.perf_counter() - started, statistics.mean(watch.tokens)
    cost = f"{tokens:.0f} tokens a prompt, {watch.own / len(hidden):.0f} requests of its own each, {took:.0f} s"
    return f"{policy:24} in the prompt {there:2} of {len(hidden)}, answered {right:2} of {len(hidden)}; {cost}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="*", default=POLICIES)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--needles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--override", action="append", default=[])
    given = parser.parse_args()
    hidden = needles(given.needles, given.seed)
    for policy in given.policies:
        print(tried(policy, hidden, given.turns, given.override), flush=True)


if __name__ == "__main__":
    main()
