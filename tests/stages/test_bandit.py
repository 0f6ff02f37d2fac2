"""The bandit: which preset it takes, what it learns of feedback, and that it finds the better one."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

import vllm_flow
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.messages import user
from vllm_flow.core.option_checks import own_problems, problems
from vllm_flow.core.sampling_plan import STATE, SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Turn
from vllm_flow.engines import Echo
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.models.spec import Model
from vllm_flow.schedules import Linear
from vllm_flow.stages.bandit import Bandit
from vllm_flow.stages.context import Full, Update
from vllm_flow.stages.fuse import Chat
from vllm_flow.stages.infer import Generate
from vllm_flow.stores.memory import Memory
from vllm_flow.testing import context

PRESETS: dict[str, dict[str, Any]] = {"calm": {"temperature": 0.3}, "lively": {"temperature": 1.2, "min_p": 0.05}}
PLAN = SamplingPlan().changed({"max_tokens": 32})


def after(schedule: Schedule, feedback: float | None) -> Mapping[str, Any]:
    """The conversation's state when the answer was liked so, as a store gives it back."""
    state: Mapping[str, Any] = json.loads(json.dumps({STATE: schedule.after(5, 5, feedback)}))
    return state


def chosen(schedule: Schedule) -> str:
    name: str = schedule.keeps["bandit"]["chosen"]
    return name


def talk(bandit: Bandit, rewards: Any, turns: int) -> list[str]:
    """The presets of a conversation; `rewards` gives how an answer of a preset is liked, from -1 to 1, or None."""
    names, state = list[str](), {}
    for number in range(1, turns + 1):
        schedule = bandit.run(PLAN, Turn("talk", user("hm"), number=number), context(state=state))
        names.append(chosen(schedule))
        state = after(schedule, rewards(names[-1]))
    return names


def ucb1(rewards: Any, names: list[str], turns: int) -> list[str]:
    """Figure 1 of Auer 2002: each once, and then the largest mean + sqrt(2 ln n / n_j)."""
    found, got = list[str](), {name: list[float]() for name in names}
    for _ in range(turns):
        untried = [name for name in names if not got[name]]
        n = sum(map(len, got.values()))
        scores = {name: sum(one) / len(one) + math.sqrt(2 * math.log(n) / len(one)) for name, one in got.items() if one}
        best = untried[0] if untried else max(names, key=lambda name: (scores[name], -names.index(name)))
        found.append(best)
        got[best].append((rewards(best) + 1) / 2)
    return found


def noisy(seed: int, means: Mapping[str, float]) -> Any:
    """Feedback whose reward, from 0 to 1, has a mean by preset: good or bad, and nothing between."""
    rng = random.Random(seed)
    return lambda name: 1.0 if rng.random() < means[name] else -1.0


def test_its_choices_are_those_of_ucb1() -> None:
    presets = {**PRESETS, "plain": {}}
    means = {"calm": 0.4, "lively": 0.6, "plain": 0.5}
    for seed in range(5):
        found = talk(Bandit(presets), noisy(seed, means), 120)
        assert found == ucb1(noisy(seed, means), list(presets), 120)


def test_the_better_of_two_presets_is_chosen_most_often_in_95_of_100_conversations() -> None:
    wins = 0
    for seed in range(100):
        found = Counter(talk(Bandit(PRESETS), noisy(seed, {"calm": 0.5, "lively": 0.7}), 300)[-100:])
        wins += found["lively"] > found["calm"]
    assert wins >= 95


def test_what_it_chose_is_in_force_and_in_the_state() -> None:
    first = Bandit(PRESETS).run(PLAN, Turn("talk", user("hm"), number=1))
    assert (first.at(0).temperature, first.at(0).min_p, first.at(0).max_tokens) == (0.3, 0.0, 32)
    second = Bandit(PRESETS).run(PLAN, Turn("talk", user("hm"), number=2), context(state=after(first, 0.5)))
    assert (second.at(0).temperature, second.at(0).min_p, second.at(0).max_tokens) == (1.2, 0.05, 32)
    assert second.keeps["bandit"] == {"chosen": "lively", "times": {"calm": 1}, "rewards": {"calm": 0.75}}


def test_a_turn_without_feedback_teaches_nothing_and_that_of_the_turn_itself_comes_first() -> None:
    bandit = Bandit(PRESETS)
    assert talk(bandit, lambda name: None, 4) == ["calm"] * 4
    first = bandit.run(PLAN, Turn("talk", user("hm"), number=1))
    said = Turn("talk", user("hm"), number=2, feedback=-1.0)
    second = bandit.run(PLAN, said, context(state=after(first, 1.0)))
    assert second.keeps["bandit"]["rewards"] == {"calm": 0.0}


def test_of_equals_it_takes_the_first_named() -> None:
    assert talk(Bandit({"b": {}, "a": {}}, explore=0.0), lambda name: 0.0, 5) == ["b", "a", "b", "b", "b"]


def test_a_preset_that_is_no_longer_there_is_forgotten() -> None:
    first = Bandit({"old": {}, **PRESETS}).run(PLAN, Turn("talk", user("hm"), number=1))
    later = Bandit(PRESETS).run(PLAN, Turn("talk", user("hm"), number=2), context(state=after(first, 1.0)))
    assert later.keeps["bandit"] == {"chosen": "calm", "times": {}, "rewards": {}}


def test_a_preset_may_have_schedules() -> None:
    falls = {"temperature": {"linear": {"from": 1.0, "to": 0.2, "over": 8}}}
    schedule = Bandit({"falls": falls, **PRESETS}).run(PLAN, Turn("talk", user("hm"), number=1))
    assert schedule.moving["temperature"].made == Linear(1.0, 0.2, 8.0)
    assert [schedule.at(token).temperature for token in (0, 4, 9)] == pytest.approx([1.0, 0.6, 0.2])


def told(given: Any) -> list[str]:
    found = [f"{'.'.join(one.path)}: {one.problem}" for one in problems(Bandit, given)]
    return found or [f"{'.'.join(path)}: {problem}" for path, problem in own_problems(Bandit(**given))]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"presets": {"calm": {}}}, "presets: there is nothing to choose from. Name two or more."),
        (
            {"presets": {"a": {}, "b": {"temperature": {"linear": {"from": 1}}}}},
            "presets.b.temperature.linear.to: 'to' is missing. It takes a number.",
        ),
        (
            {"presets": {"a": {}, "b": {"max_tokens": {"budget": {"most": 9, "tokens": 90}}}}},
            "presets.b.max_tokens: it remembers the turn before, which may have been another preset's. Use a number, or "
            "what remembers nothing.",
        ),
    ],
)
def test_what_are_no_presets_is_refused(given: Any, words: str) -> None:
    assert told(given)[0] == words


def graph(bandit: Bandit) -> dict[str, Any]:
    return {"context": Full(), "prompt": Chat(), "schedule": bandit, "reply": Generate(), "remember": Update()}


def test_it_goes_through_a_pipeline_and_its_choice_is_saved() -> None:
    resources = {"engine": Echo(), "store": Memory()}
    with vllm_flow.build(graph(Bandit(PRESETS)), "reply", resources=resources, record=False) as session:
        for number, feedback in enumerate((None, -1.0, 1.0, 0.0), 1):
            session.run(Turn("talk", user("hm"), number=number, feedback=feedback))
        kept = session.opened("store").state("talk")["sampling"]["last"]["bandit"]
    assert kept == {"chosen": "lively", "times": {"calm": 1, "lively": 2}, "rewards": {"calm": 0.0, "lively": 1.5}}


def test_what_the_engine_cannot_do_is_refused_in_every_preset() -> None:
    resources = {"engine": OpenAI(Model("gpt", served="gpt"), base_url="http://127.0.0.1:9/v1"), "store": Memory()}
    bandit = Bandit({"calm": {"temperature": 0.3}, "odd": {"typical_p": 0.5}})
    with pytest.raises(ConfigError) as caught:
        vllm_flow.build(graph(bandit), "reply", resources=resources, record=False)
    assert str(caught.value).startswith(
        "graph.schedule: the preset 'odd': the engine cannot honour the schedule's 'typical_p'. Remove it, or choose"
    )
