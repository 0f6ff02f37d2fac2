"""Facts: one line each, in the user's language, with the date of the user's own time zone."""

from __future__ import annotations

import pytest

from vllm_flow.clocks import Fixed
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.segments import Item, Segment, Share
from vllm_flow.core.spec import RunSpec
from vllm_flow.sources import Facts

CLOCK = Fixed("2026-11-28T23:30:00+00:00").open()


def lines(facts: Facts) -> list[str]:
    return [item.text for item in facts.run(CLOCK).items]


def test_the_date_is_that_of_the_time_zone() -> None:
    assert lines(Facts()) == ["Today is Saturday, 28 November 2026."]
    assert lines(Facts(zone="Asia/Shanghai")) == ["Today is Sunday, 29 November 2026."]
    assert lines(Facts(zone="Asia/Shanghai", language="zh")) == ["今天是2026年11月29日，星期日。"]


def test_all_that_is_known_stands_on_lines_of_its_own() -> None:
    facts = Facts(time=True, zone="Asia/Shanghai", location="Beijing", profile={"name": "Ada", "diet": "no nuts"})
    assert lines(facts) == [
        "Today is Sunday, 29 November 2026.",
        "The time is 07:30 (Asia/Shanghai).",
        "The user is in Beijing.",
        "The user's name: Ada.",
        "The user's diet: no nuts.",
    ]
    chinese = Facts(date=False, time=True, location="北京", profile={"姓名": "小明"}, language="zh")
    assert lines(chinese) == ["现在是23:30（UTC）。", "用户所在地：北京。", "用户的姓名：小明。"]
    assert chinese.run(CLOCK).heading == "已知信息："


def test_a_date_stands_before_the_question_and_not_before_the_history() -> None:
    items = (Item("Today is Saturday, 28 November 2026."),)
    assert Facts().run(CLOCK) == Segment("facts", items, "What is known:", "last", Share())


def test_facts_that_are_none_are_refused_before_anything_runs() -> None:
    graph = {
        "facts": {"use": "source/facts", "zone": "Mars/Base"},
        "others": {"use": "source/facts", "date": False},
    }
    with pytest.raises(ConfigError) as told:
        Pipeline.build(RunSpec("x", graph, "facts", resources={"clock": {"use": "clock/system"}}))
    found = str(told.value).splitlines()
    zone = "'Mars/Base' is no time zone here. Write an IANA name such as Asia/Shanghai, or null."
    none = "there is no fact in it. Set date, time, location or profile, or leave the node out."
    assert {f"graph.facts.zone: {zone}", f"graph.others: {none}"} <= {*found}
