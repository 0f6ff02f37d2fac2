"""`ls`: what there is, and what is told of one name; nothing of a project runs for a list."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tests import shipped
from tests.cli.test_command import COMMAND, POSIX
from tests.command import Said, flow
from vllm_flow.cli import main
from vllm_flow.config import compose
from vllm_flow.core import plugins, registry
from vllm_flow.core.metrics import ALWAYS

plugins.load_built_in()
REGISTRIES = {
    "stages": registry.stage, "resources": registry.resource, "sources": registry.source, "measures": registry.metric,
    "schedules": registry.schedule,
}  # fmt: skip
PARTS = [
    (kind, one.name)
    for kind, known in REGISTRIES.items()
    for one in known
    if one.cls.__module__.startswith("vllm_flow.")
]
USED = [
    part for part in PARTS if part[1] not in ALWAYS.values() and part[0] != "schedules"
]  # of what is always measured no file speaks
ROOT = Path(__file__).parents[2]
SHOUT = '''from dataclasses import dataclass, replace
from typing import Annotated
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion

open("was_run", "w").close()

@stage("mine/shout")
@dataclass(frozen=True)
class Shout:
    """The reply in capitals."""

    times: Annotated[int, at_least(1)]
    """How many marks follow."""
    mark: str = "!"

    def run(self, reply: Completion) -> Completion:
        return replace(reply, text=reply.text.upper() + self.times * self.mark)
'''
LOUD = """# @package _global_
# Talk loudly.
defaults: [dialogue, _self_]
graph:
  # louder than before
  loud:
    use: mine/shout
    times: 2  # two marks

  # the end
output: loud
"""


@pytest.fixture(autouse=True)
def _only_built_in_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other tests have registered theirs in this process, and those of one test are not another's."""
    for known in REGISTRIES.values():
        kept = {one.name: one for one in known if one.cls.__module__.startswith("vllm_flow.")}
        monkeypatch.setattr(known, "_entries", kept)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "stages" in name or name.startswith("vllm_flow_project"):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loud(project: Path) -> Path:
    write(project / "stages/shout.py", SHOUT)
    write(project / "pipelines/loud.yaml", LOUD)
    return project


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def ls(capsys: pytest.CaptureFixture[str]) -> Any:
    """What `ls` prints, with nothing on stderr."""

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(["ls", *words]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return run


@pytest.fixture
def told(ls: Any) -> Any:
    """What `ls --json WORD` tells of each thing with this name."""

    def run(word: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(ls("--json", word))[word]
        return found

    return run


def test_text_and_json_say_the_same(ls: Any) -> None:
    kinds = json.loads(ls("--json"))
    assert [line.split("\t") for line in ls().splitlines()] == [
        [kind, name, line] for kind, names in kinds.items() for name, line in names.items()
    ]
    assert list(kinds) == [
        "clocks", "contexts", "documents", "embedders", "engines", "experiments", "facts", "inputs", "media",
        "metrics", "models", "pipelines", "readers", "retrievals", "samplings", "stores", "taggers", "tools", "transcribers", "webs", "stages", "resources",
        "sources", "measures", "schedules", "functions", "plugins",
    ]  # fmt: skip
    assert [name for names in kinds.values() for name, line in names.items() if not line] == []
    assert [(kind, name) for kind in REGISTRIES for name in kinds[kind]] == PARTS


def test_a_kind_may_be_singular_and_several_are_one_list(ls: Any) -> None:
    assert ls("model") == ls("models")
    assert ls("stage", "clocks").splitlines()[-2:] == ls("clocks").splitlines()
    assert ls("plugins") == ""


def test_keys_and_words_are_listed_when_asked_for(ls: Any) -> None:
    words = json.loads(ls("--json", "words"))["words"]
    assert words["each"] == "The parameter that gets one item of a tuple at a time."
    assert list(words) == ["use", "from", "each", "when"]
    keys = json.loads(ls("--json", "key"))["keys"]
    assert keys["sampling.temperature"] == "Divides the logits; 0 is greedy: always the most probable token."
    assert keys["seed"] == "Equal seeds give equal answers."
    assert {"engine.device", "store.path", "input.text", "model.architecture.heads", "output"} <= set(keys)
    assert "engine.model" not in keys  # it is `model`'s to set


def test_the_help_names_every_kind(ls: Any) -> None:
    said = re.findall(r"\w+", ls("--help").partition("KIND  ")[2].partition("NAME  ")[0])
    assert {line.partition("\t")[0] for line in ls().splitlines()} | {"plugins", "keys", "words"} <= set(said)


def test_the_projects_own_stages_are_listed(loud: Path, ls: Any) -> None:
    write(loud / "stages/broken.py", '@stage("mine/broken"\nraise SystemExit(9)\n')
    stages = json.loads(ls("--json", "stages"))["stages"]
    assert stages["mine/shout"] == "The reply in capitals."
    assert stages["mine/broken"] == "stages/broken.py is no Python: '(' was never closed (line 1)."
    assert "pipelines\tloud\tTalk loudly.\n" in ls()


def test_listing_runs_none_of_the_projects_code(loud: Path, ls: Any) -> None:
    ls()
    ls("stages", "temperature", "dialogue", "select/vote")
    assert not (loud / "was_run").exists()


def test_of_two_kinds_with_one_name_both_are_told_and_their_file_is_shown_once(ls: Any, told: Any) -> None:
    assert [one["kind"] for one in told("echo")] == ["engines", "resources"]
    assert told("engine/echo") == told("engine=echo") == told("echo")
    assert told("engines/echo") == told("echo")[:1]
    assert ls("engine/echo") == (
        "echo: engine\n"
        "Says the user's words back; needs no weights.\n"
        "\n"
        f"file    {ROOT}/conf/engine/echo.yaml\n"
        "\n"
        "  use: engine/echo\n"
        "\n"
        "vllm-flow engine=echo\n"
        "\n"
        "engine/echo: resource\n"
        "Says the newest user message back, word by word; needs no weights.\n"
        "\n"
        "All probability is on one token, so temperature, cuts and penalties change nothing, each token's logprob is 0, and "
        "`max_tokens`, `stop` and `stop_token_ids` end the answer as they do everywhere. Logit bias, bad words and min tokens would make it "
        "say something else, so it does not honour them. What is to have a shape and has none in the message is a short "
        "example of it instead, always the same.\n"
        "\n"
        "opens     EchoEngine\n"
        "\n"
        "vllm-flow check engine=echo\n"
    )


def test_a_stage_is_told_with_ports_options_and_an_example(ls: Any) -> None:
    assert ls("vote") == (
        "select/vote: stage\n"
        "The first candidate whose answer most candidates give (self-consistency, Wang 2022, arXiv:2203.11171).\n"
        "\n"
        "Of answers with equal votes the one given first wins. Candidates in which `answer` finds nothing vote together "
        "only if nobody else votes.\n"
        "\n"
        "asks for  candidates: tuple[Completion, ...]\n"
        "makes     Completion\n"
        "\n"
        "options\n"
        "  answer: a text, or null; default null\n"
        "      A regular expression; a candidate's answer is its last match. null: the whole text, case and spaces aside.\n"
        "\n"
        f"example from {ROOT}/pipelines/best_of.yaml\n"
        "  graph:\n"
        "    reply:\n"
        "      use: select/vote\n"
        "      answer: '-?\\d+(?:\\.\\d+)?'\n"
        "\n"
        "vllm-flow check pipeline=best_of\n"
    )
    update = ls("context/update")
    assert "\nmakes     nothing: it is kept for its effect\n" in update
    assert update.endswith("\nvllm-flow check pipeline=dialogue\n")  # of the pipelines that use it the smallest


@cache
def composed(*overrides: str) -> tuple[Said, dict[str, Any]]:
    """What `check` says of what these choose in an empty folder, and all that they choose: many parts have one example."""
    said = flow(Path(), "check", *overrides)
    return said, {} if said.returncode else compose(overrides).content()


@pytest.mark.parametrize(("kind", "name"), USED)
def test_the_example_of_every_built_in_part_comes_from_a_file_and_passes_check(kind: str, name: str, told: Any) -> None:
    (part,) = (one for one in told(name) if one["kind"] == kind)
    example = part["example"]
    assert Path(example["file"]).is_file(), "no shipped file uses it. Ship one, or `ls` has no example that runs."
    checked, content = composed(*example["overrides"])
    if "is not installed. Install it: pip install" in checked.stderr:
        pytest.skip(checked.stderr.strip())
    assert checked.returncode == 0
    assert "no faults" in checked.stdout
    shown = OmegaConf.to_container(OmegaConf.create(example["yaml"]))
    assert isinstance(shown, dict)
    assert within(shown, content)
    assert name in example["yaml"]


@pytest.mark.parametrize("name", [name for kind, name in PARTS if kind == "schedules"])
def test_the_example_of_every_schedule_is_what_a_sampling_parameter_may_follow(
    name: str, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (part,) = (one for one in told(name) if one["kind"] == "schedules")
    shown = OmegaConf.to_container(OmegaConf.create(part["example"]["yaml"]))
    _, override = part["example"]["overrides"]
    assert main(["check", "--config", override, "engine=echo"]) == 0, capsys.readouterr().err
    composed = yaml.safe_load(capsys.readouterr().out.rpartition("\n")[0])
    assert within(shown, composed)
    assert name in str(shown)


def test_a_schedule_is_told_with_its_options_and_how_a_parameter_follows_it(ls: Any) -> None:
    assert ls("linear") == (
        "linear: schedule\n"
        "In a straight line from one value to another, and then that: from + (to - from) x / over.\n"
        "\n"
        "makes     a number\n"
        "\n"
        "options\n"
        "  from: a number; required\n"
        "  to: a number; required\n"
        "  over: a number above 0; required\n"
        "      After how many tokens or turns, or at which share of the task, `to` is reached.\n"
        "  by: one of: token, turn, progress; default 'token'\n"
        "\n"
        "example\n"
        "  sampling:\n"
        "    temperature: {linear: {from: 1.0, to: 0.2, over: 256}}\n"
        "\n"
        "vllm-flow check --sampling 'sampling.temperature={linear: {from: 1.0, to: 0.2, over: 256}}'\n"
    )
    assert "  of: a list, each item a number or a schedule; required\n" in ls("schedules/sum")
    assert ls("schedule") == ls("schedules")


CALM = '''from vllm_flow import Now, schedule


@schedule("calm", needs=("entropy",))
def calm(now: Now) -> float:
    """Calmer and calmer."""
    return 1 / (1 + now.token)
'''


def test_a_schedule_of_the_project_is_listed_and_told(project: Path, ls: Any) -> None:
    write(project / "stages/feel.py", CALM)
    assert "schedules\tcalm\tCalmer and calmer.\n" in ls("schedules")
    assert ls("calm") == (
        "calm: schedule\nCalmer and calmer.\n\nasks for  entropy: a signal\nmakes     a number\n\n"
        "example\n  sampling:\n    temperature: calm\n\nvllm-flow check --sampling sampling.temperature=calm\n"
    )


def within(shown: Any, composed: Any) -> bool:
    """Whether everything shown is so in what is composed; references aside."""
    if isinstance(shown, dict):
        return all(name in composed and within(value, composed[name]) for name, value in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(composed) and all(map(within, shown, composed))
    return bool(shown == composed) or str(shown).startswith("${")


def test_a_function_is_told_with_its_arguments_and_what_it_is_given(ls: Any) -> None:
    assert ls("functions/clock") == (
        "clock: function\n"
        "The current date, weekday, time and time zone.\n"
        "\n"
        "asks for  zone: a text, or null (may be left out), clock: a resource\n"
        "makes     a text for the model\n"
        "\n"
        "example\n"
        "  resources:\n"
        "    tools:\n"
        "      offer:\n"
        "        clock: {}\n"
    )


def test_a_pipeline_is_told_with_its_file_its_sample_and_its_values(ls: Any) -> None:
    assert ls("pipeline=story") == (
        "story: pipeline\n"
        "Tell a story together, a chapter at each turn; who is in it and what has happened is remembered.\n"
        "\n"
        f"file    {ROOT}/pipelines/story.yaml\n"
        f"sample  {ROOT}/pipelines/story.jsonl\n"
        "\n"
        "  defaults:\n"
        "    - /context: story\n"
        "    - _self_\n"
        "    - override /sampling: creative\n"
        "  graph:\n"
        "    prompt:\n"
        "      use: fuse/chat\n"
        "      system: >-\n"
        "        You are a storyteller. Go on with the story in one short chapter. Keep the names and the facts that were "
        "told\n"
        "        before, and do not end the story.\n"
        "    schedule: {use: schedule/sampling}\n"
        "    reply: {use: infer/generate}\n"
        "    remember: {use: context/update}\n"
        "  output: reply\n"
        "\n"
        "context\tcontext/story\tturn, store, engine\tContext\n"
        "schedule\tschedule/sampling\tsampling, turn, context\tSchedule\n"
        "prompt\tfuse/chat\tturn, context, engine, schedule\tPrompt\n"
        "reply\tinfer/generate\tprompt, schedule, engine\tCompletion\n"
        "remember\tcontext/update\tturn, reply, context, store, schedule\tNone\n"
        "\n"
        "vllm-flow pipeline=story\n"
    )


NESTED = """# @package _global_
# A tale of several, and one that is louder.
defaults: [/context: full, _self_]
graph:
  tale: {use: pipeline/best_of}
  loud: {use: mine/shout, from: {reply: tale}, times: 1, when: not context}
output: loud
"""


@pytest.mark.parametrize("name", [*shipped.PIPELINES, "loud", "nested"])
def test_the_values_are_those_that_check_shows(
    name: str, loud: Path, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write(loud / "pipelines/nested.yaml", NESTED)
    (pipeline,) = (one for one in told(name) if one["kind"] == "pipelines")
    assert main(["check", f"pipeline={name}", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    rows = [{key: node[key] for key in ("value", "made_by", "from", "type")} for node in checked["nodes"]]
    outer = [row for row in rows if "/" not in row["value"]]  # check shows what is inside a pipeline, too
    assert (pipeline["output"], pipeline["values"], pipeline["problems"]) == (checked["output"], outer, [])


def test_a_pipeline_whose_stage_is_broken_is_told_as_far_as_it_goes(
    loud: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(loud / "stages/shout.py", "1 / 0\n" + SHOUT)
    assert main(["ls", "loud"]) == 0
    said = capsys.readouterr()
    assert "\nloud\tmine/shout\t\tAny\n" in said.out
    assert said.err == (
        "warning: loud: 'stages/shout.py' cannot be imported: ZeroDivisionError: division by zero (line 1). "
        "Mend it, or do without it.\n"
    )


@pytest.mark.parametrize("text", ["graph: [", "graph: [3]", "graph: {a: 3, b: {use: 3}, c: {use: pipeline/odd}}", "\0"])
def test_a_pipeline_that_cannot_be_read_is_shown_as_it_is(project: Path, text: str, told: Any) -> None:
    write(project / "pipelines/odd.yaml", f"# @package _global_\n# Odd.\n{text}\n")
    (pipeline,) = told("odd")
    assert (pipeline["summary"], pipeline["file"], pipeline["yaml"]) == ("Odd.", "pipelines/odd.yaml", text)


def test_a_choice_is_told_with_its_file(ls: Any) -> None:
    assert ls("sampling/greedy") == (
        "greedy: sampling\n"
        "Always the most probable token: the same answer every time.\n"
        "\n"
        f"file    {ROOT}/conf/sampling/greedy.yaml\n"
        "\n"
        "  temperature: 0\n"
        "  max_tokens: 192\n"
        "\n"
        "vllm-flow sampling=greedy\n"
    )


def test_a_choice_is_told_with_a_pipeline_where_the_usual_one_has_no_room_for_it(ls: Any) -> None:
    assert ls("retrieval/bm25").endswith("\n\nvllm-flow pipeline=support retrieval=bm25\n")
    assert main(["check", "pipeline=support", "retrieval=bm25"]) == 0
    assert ls("context/bm25").partition("\n\ncontext/bm25: stage")[0].endswith("\n\nvllm-flow context=bm25")


def test_what_a_choice_still_needs_is_given_with_a_sample(told: Any) -> None:
    (_, clock) = told("fixed")
    assert clock["example"] == {
        "yaml": "resources:\n  clock:\n    use: clock/fixed\n    time: 2026-11-24T09:30:00+08:00",
        "file": f"{ROOT}/conf/clock/fixed.yaml",
        "overrides": ["clock=fixed", "clock.time=2026-11-24T09:30:00+08:00"],
    }


def test_a_sampling_parameter_is_told_with_what_the_presets_set(ls: Any, told: Any) -> None:
    assert ls("temperature") == ls("sampling.temperature") == (
        "sampling.temperature: key\n"
        "Divides the logits; 0 is greedy: always the most probable token.\n"
        "\n"
        "takes a number of 0 or more, or a schedule; default 1.0\n"
        "set by sampling: annealed cosine, balanced 0.7, creative 1.0, diverse 0.9, dynamic entropy, edt edt, greedy 0, inventive 1.0, mirostat 1.0, plain 0.7, warming warmup\n"
        "\n"
        "vllm-flow sampling.temperature=VALUE\n"
    )  # fmt: skip
    (device,) = told("engine.device")
    assert (device["takes"], device["choices"]) == ("one of: auto, cpu, cuda, mps", {"transformers": "auto"})
    assert [one["name"] for one in told("path")] == [
        "embedder.path",
        "input.path",
        "model.path",
        "store.path",
        "tagger.path",
        "transcriber.path",
    ]
    (repeat,) = told("sweep.repeat")
    assert (repeat["takes"], repeat["default"]) == ("an integer of 1 or more", 1)
    assert repeat["doc"] == "How many independent answers each turn gets, at every point."
    assert [one["name"] for one in told("seed")] == ["seed"]  # and not model.architecture.seed, which ends so, too


def test_a_key_is_meant_only_where_nothing_else_has_the_name(told: Any) -> None:
    assert [(one["kind"], one["name"]) for one in told("text")] == [("inputs", "text"), ("sources", "input/text")]
    assert [(one["kind"], one["name"]) for one in told("input.text")] == [("keys", "input.text")]


def test_a_reserved_word_is_told_with_a_node_that_has_it(ls: Any) -> None:
    assert ls("each") == (
        "each: word\n"
        "The parameter that gets one item of a tuple at a time.\n"
        "\n"
        f"example from {ROOT}/pipelines/most_likely.yaml\n"
        "  graph:\n"
        "    scores: {use: score/likelihood, each: completion, from: {completion: candidates}}\n"
        "\n"
        "vllm-flow check pipeline=most_likely\n"
    )
    assert ls("when") == (
        "when: word\n"
        "Runs the stage only if this value is true; `not` and a value turns it round.\n"
        "\n"
        "example\n"
        "  graph:\n"
        "    NODE: {use: STAGE, when: VALUE}\n"
    )


def test_a_stage_of_the_project_is_told_with_the_pipeline_that_uses_it(loud: Path, ls: Any) -> None:
    assert ls("mine/shout") == (
        "mine/shout: stage\n"
        "The reply in capitals.\n"
        "\n"
        "asks for  reply: Completion\n"
        "makes     Completion\n"
        "\n"
        "options\n"
        "  times: an integer of 1 or more; required\n"
        "      How many marks follow.\n"
        "  mark: a text; default '!'\n"
        "\n"
        "example from pipelines/loud.yaml\n"
        "  graph:\n"
        "    loud:\n"
        "      use: mine/shout\n"
        "      times: 2  # two marks\n"
        "\n"
        "vllm-flow check pipeline=loud\n"
    )


def test_an_example_is_cut_out_of_whatever_stands_around_it(loud: Path, told: Any) -> None:
    graph = "graph: {ä: {use: fuse/chat}, loud: {use: mine/shout, times: 2}, b: {use: fuse/chat}}  # 😀"
    write(loud / "pipelines/loud.yaml", f"# @package _global_\r\n# Très fort 😀.\r\n{graph}\r\n")
    assert told("shout")[0]["example"]["yaml"] == "graph:\n  loud: {use: mine/shout, times: 2}"
    write(
        loud / "pipelines/loud.yaml", "x: &x {loud: {use: mine/shout, times: 2}}\ngraph: {<<: *x}\ndefaults: ['': 3]\n"
    )
    assert told("shout")[0]["example"]["file"] == ""


def test_a_stage_that_no_file_uses_is_written_out(loud: Path, ls: Any) -> None:
    (loud / "pipelines/loud.yaml").unlink()
    assert ls("shout").endswith("\nexample\n  graph:\n    shout:\n      use: mine/shout\n      times: ???\n")


BROKEN = (
    "'stages/shout.py' cannot be imported: ZeroDivisionError: division by zero (line 1). Mend it, or do without it."
)
UNREGISTERED = "stages/shout.py was imported and registers no stage 'mine/shout'. Mend it."
TAKEN = "'stages/shout.py' cannot be imported: stage 'select/vote' ("


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        (f"1 / 0\n{SHOUT}", "mine/shout", f"ls mine/shout: {BROKEN}\n"),
        (f'"""\n{SHOUT.replace(chr(34) * 3, "")}"""\n', "mine/shout", f"ls mine/shout: {UNREGISTERED}\n"),
        (SHOUT.replace("mine/shout", "select/vote"), "select/vote", f"ls select/vote: {TAKEN}"),
    ],
)
def test_a_stage_that_cannot_be_had_is_one_line(
    text: str, name: str, problem: str, loud: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(loud / "stages/shout.py", text)
    assert main(["ls", name]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err[: len(problem)], said.err.count("\n")) == ("", problem, 1)


UNREADABLE = SHOUT.replace("times: Annotated[int, at_least(1)]", "times: list[int]")


def test_a_stage_whose_options_cannot_be_read_is_told_as_far_as_it_goes(
    loud: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(loud / "stages/shout.py", UNREADABLE)
    assert main(["ls", "mine/shout"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("mine/shout: stage\nThe reply in capitals.\n\nexample from pipelines/loud.yaml\n")
    assert said.err.startswith("warning: mine/shout: TypeError: the option 'times': list[int] is no type of an option.")


@pytest.fixture
def site(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, as pip leaves them."""
    for name, code in (("acme", SHOUT.replace("mine/", "acme:mine/")), ("broken", "1 / 0\n")):
        folder = project / "site" / f"{name}-1.0.dist-info"
        write(project / "site" / f"{name}_stages.py", code)
        write(folder / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: Stages of {name}.\n")
        write(folder / "entry_points.txt", f"[{plugins.GROUP}]\n{name} = {name}_stages\n")
    monkeypatch.syspath_prepend(project / "site")
    return project


def test_plugins_are_listed_by_their_package_and_imported_when_one_is_asked_for(site: Path, ls: Any) -> None:
    assert ls("plugins") == "plugins\tacme\tacme 1.0 Stages of acme.\nplugins\tbroken\tbroken 1.0 Stages of broken.\n"
    assert not (site / "was_run").exists()
    assert ls("acme") == (
        "acme: plugin\nacme 1.0 Stages of acme.\n\nimported from acme_stages\n  stages: acme:mine/shout\n"
    )
    assert (site / "was_run").exists()
    assert ls("acme:mine/shout").startswith("acme:mine/shout: stage\nThe reply in capitals.\n\nasks for  reply: ")


def test_a_stage_of_a_plugin_is_told_without_asking_for_the_plugin_first(site: Path, ls: Any) -> None:
    assert ls("acme:mine/shout").startswith("acme:mine/shout: stage\nThe reply in capitals.\n")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("broken", "ls broken: the plugin 'broken' (broken_stages) cannot be imported: ZeroDivisionError: division by zero. Mend or reinstall it."),
        ("broken:a/b", "ls broken:a/b: the plugin 'broken' (broken_stages) cannot be imported: ZeroDivisionError: division by zero. Mend or reinstall it."),
        ("acne:a/b", "ls acne:a/b: no installed package offers the plugin 'acne'. Did you mean 'acme'? Installed: acme, broken."),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_had_is_one_line(
    site: Path, word: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", word]) == 2
    assert capsys.readouterr() == ("", f"{line}\n")


KINDS = "clocks, contexts, documents, embedders, engines, experiments, facts, functions, inputs, keys, measures, media, metrics, models, pipelines, plugins, readers, resources, retrievals, samplings, schedules, sources, stages, stores, taggers, tools, transcribers, webs, words"


def test_names_that_nothing_has_are_told_at_once_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "modles", "greedy", "select/vot", "sampling.temprature"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()) == (
        "",
        [
            f"ls {word}: nothing has this name. Did you mean '{near}'? Kinds: {KINDS}; `vllm-flow ls KIND` lists the names."
            for word, near in (
                ("modles", "models"), ("select/vot", "select/vote"), ("sampling.temprature", "sampling.temperature"),
            )
        ],
    )  # fmt: skip


def test_a_group_of_the_project_that_is_called_as_another_kind_keeps_its_own_name(project: Path, ls: Any) -> None:
    write(project / "conf/stage/first.yaml", "# @package graph.first\n# Mine.\nuse: fuse/chat\n")
    assert ls("stage") == "stage\tfirst\tMine.\n"
    assert "stages\tfuse/chat\t" in ls("stages")
    assert ls("first").startswith("first: stage\nMine.\n\nfile    conf/stage/first.yaml\n")


def test_control_characters_do_not_reach_the_terminal(project: Path, ls: Any) -> None:
    write(project / "conf/sampling/odd.yaml", "# @package sampling\n# Odd.\nstop: ['\x1b[2J\x07']\n")
    assert ls("odd").splitlines()[5] == "  stop: ['[2J']"


@POSIX
def test_at_a_terminal_of_80_columns_no_line_is_broken_by_it(loud: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    words = [*COMMAND, "ls", "stages", "loud", "engine/transformers", "temperature"]
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        screen = b""
        while chunk := read_all(ours):
            screen += chunk
        assert process.wait() == 0
    os.close(ours)
    text = plain(screen)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "stages  context/full          All earlier messages of the conversation." in text.replace("\r", "")
    assert "\r\n\r\noptions\r\n  model: a mapping with: " in text


def read_all(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # what Linux says when the other side is closed
        return b""


def plain(screen: bytes) -> str:
    import re

    return re.sub(r"\x1b\[[\d;]*m", "", screen.decode("utf-8"))


def test_neither_a_list_nor_a_name_imports_hydra_or_a_model_library() -> None:
    code = (
        "import sys\nfrom vllm_flow.cli import main\n"
        "codes = [main(['ls', *words]) for words in ([], ['keys'], ['select/vote'], ['best_of'], ['temperature'])]\n"
        "heavy = {'torch', 'transformers', 'hydra', 'omegaconf', 'jsonschema', 'rich', 'numpy'} & set(sys.modules)\n"
        "assert codes == [0] * 5 and not heavy, (codes, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
