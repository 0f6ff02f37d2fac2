"""What a user types is understood, or refused in one line that says what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from tests import shipped
from vllm_flow.config import groups
from vllm_flow.config.groups import read_groups
from vllm_flow.config.overrides import quoted, rewrite

from .conftest import Project

TOP = (
    "clock, concurrency, context, documents, embedder, engine, experiment, facts, graph, input, media, metrics, model, output, "
    "pipeline, plugins, reader, resources, retrieval, sampling, seed, store, sweep, tagger, tools, transcriber, web"
)
ACCEPTED: list[tuple[list[str], str, Any]] = [
    (["sampling.temperature=0.2"], "sampling.temperature", 0.2),
    (["+sampling.top_k=5"], "sampling.top_k", 5),
    (["++sampling.top_k=5"], "sampling.top_k", 5),
    (["sampling.stop=[a,b]"], "sampling.stop", ["a", "b"]),
    (
        ["sampling.temperature={linear: {from: 1.0, to: 0.2, over: 256}}"],
        "sampling.temperature",
        {"linear": {"from": 1.0, "to": 0.2, "over": 256}},
    ),
    (["seed=7"], "seed", 7),
    (["engine.threads=2"], "resources.engine.threads", 2),
    (["store=sqlite", "store.path=a.sqlite"], "resources.store.path", "a.sqlite"),
    (["context=window"], "graph.context", {"use": "context/window", "turns": 8}),
    (["context=window", "context.turns=3"], "graph.context", {"use": "context/window", "turns": 3}),
    (["model=custom", "model.path=/weights"], "resources.engine.model.path", "/weights"),
    (["experiment=cold"], "sampling", {"temperature": 0, "max_tokens": 192}),
    (["+experiment=cold"], "sampling", {"temperature": 0, "max_tokens": 192}),
    (["experiment=cold", "sampling=creative"], "sampling.min_p", 0.05),
    (["experiment=null"], "seed", 0),
    (["sampling=creative", "sampling=greedy"], "sampling.temperature", 0),
    (["input.text=Hi, how are you?"], "input", {"use": "input/text", "text": "Hi, how are you?"}),
    (["input.text=a=b! {é} [x] ~ 'y' \"z\" \\"], "input.text", "a=b! {é} [x] ~ 'y' \"z\" \\"),
    (["input.text=${x} and $y"], "input.text", "${x} and $y"),
    (["input.text='quoted, already'"], "input.text", "quoted, already"),
    (["input.text=@@me"], "input.text", "@me"),
    (["input.text=12"], "input.text", "12"),
    (["graph.prompt.system=Be brief, please: yes?"], "graph.prompt.system", "Be brief, please: yes?"),
    (["input.path=rows.jsonl"], "input", {"use": "input/file", "path": "rows.jsonl"}),
    (["input.path=~/my données (1)/it's a=b.jsonl"], "input.path", "~/my données (1)/it's a=b.jsonl"),
    (["input.path=C:\\Users\\me\\[x].jsonl"], "input.path", "C:\\Users\\me\\[x].jsonl"),
    (["input.path='quoted, already'"], "input.path", "quoted, already"),
    (["model=custom", "model.path=~/modèle"], "resources.engine.model.path", "~/modèle"),
    (["model=custom", "model.gguf=@s.gguf"], "resources.engine.model.gguf", "@s.gguf"),
    (["model=custom", "model.path=null"], "resources.engine.model.path", None),
    (["model.layers=0-11,20-29"], "resources.engine.model.layers", "0-11,20-29"),
    (["model.layers=3"], "resources.engine.model.layers", "3"),
    (["model.layers='0,1'"], "resources.engine.model.layers", "0,1"),
    (["model.layers=null"], "resources.engine.model.layers", None),
    (["model=custom", "model.architecture.layers=3"], "resources.engine.model.architecture.layers", 3),
    (["input=stdin"], "input", {"use": "input/stdin"}),
    (["plugins.mine=./stages/mine.py"], "plugins.mine", "stages/mine.py"),
    (["~graph.remember"], "graph.remember", None),
    (["graph.shout={use: fuse/shout}"], "graph.shout", {"use": "fuse/shout"}),
    (["hydra.run.dir=elsewhere"], "seed", 0),
]


@pytest.mark.parametrize(("overrides", "path", "value"), ACCEPTED, ids=[" ".join(one[0]) for one in ACCEPTED])
def test_an_override_arrives(overrides: list[str], path: str, value: Any, project: Project) -> None:
    found: Any = project.compose(*overrides).content()
    for key in path.split("."):
        found = found.get(key)
    assert found == value


REFUSED = [
    (
        "tempratur=1",
        (
            "tempratur (command line): there is no key 'tempratur'. Did you mean "
            f"'sampling.temperature'? There are: {TOP}."
        ),
    ),
    (
        "samplng.top_p=1",
        f"samplng.top_p (command line): there is no key 'samplng'. Did you mean 'sampling'? There are: {TOP}.",
    ),
    (
        "pipeline=dialoge",
        f"pipeline (command line): there is no 'dialoge'. Did you mean 'dialogue'? There are: {shipped.pipelines()}.",
    ),
    ("store=null", "store (command line): there is no 'null'. There are: memory, sqlite."),
    ("store={use: x/y}", "store (command line): a group takes the name of a choice. There are: memory, sqlite."),
    (
        "modl/size=1",
        "modl/size (command line): there is no group 'modl/size'. There are: "
        "clock, context, documents, embedder, engine, experiment, facts, input, media, metrics, model, pipeline, reader, retrieval, sampling, store, tagger, tools, transcriber, web.",
    ),
    (
        "pipeline.seed=1",
        "pipeline.seed (command line): the group 'pipeline' has no values of its own. Write the key itself: seed=….",
    ),
    (
        "model@resources.judge=qwen",
        "model@resources.judge (command line): a group's values go to one "
        "place only. Write model=NAME, or the other values out.",
    ),
    (
        "engine.model.path=/x",
        "resources.engine.model.path (command line): 'resources.engine.model' "
        "is ${model}, which this would replace. Write model.path instead.",
    ),
    (
        "resources.engine.model={path: /x}",
        "resources.engine.model (command line): 'resources.engine.model' is "
        "${model}, which this would replace. Write model instead.",
    ),
    ("hello", "hello (command line): this is no override. Write key=value."),
    ("-m", "-m (command line): this is a flag, which does not belong here. Write key=value."),
    (
        "sampling.top_p=0.2,0.7",
        "sampling.top_p (command line): 0.2,0.7 are several values. Add -m to run each, or write [0.2,0.7] for a list.",
    ),
    ("store=memory,sqlite", "store (command line): memory,sqlite are several values. Add -m to run each."),
    (
        "sampling.stop=[a",
        "sampling.stop (command line): the value cannot be read. Put it in "
        "quotes inside the shell's own: \"sampling.stop='…'\".",
    ),
    ("seed=abc", "seed (command line): 'abc' does not fit. It takes an integer."),
    ("seed=null", "seed (command line): null does not fit. It takes an integer."),
    ("~seed", "seed (command line): no run can do without 'seed'. Give another value instead: seed=…."),
    ("~pipeline", "pipeline (command line): no run can do without 'pipeline'. Give another value instead: pipeline=…."),
    (".a=1", ".a=1 (command line): this is no override. Write key=value."),
    ("hydra/sweeper=nope", "hydra/sweeper (command line): there is no 'nope'. There are: basic, flow."),
    (
        "hydra.nope=1",
        ("hydra.nope (command line): nothing stands here that could be changed. Write '++hydra.nope' to add it."),
    ),
    (
        "graph.x=${oc.env:VLLM_FLOW_NOT_SET}",
        "graph.x (command line): the environment variable VLLM_FLOW_NOT_SET is "
        "not set. Set it, or write ${oc.env:VLLM_FLOW_NOT_SET,…} with a default.",
    ),
    ("concurrency=0", "concurrency (command line): 0 does not fit. It takes an integer of 1 or more."),
    (
        "graph=[1,2]",
        "graph (command line): this is a list, but pipelines/dialogue.yaml:5 has a mapping here. Write a mapping.",
    ),
    ("graph=5", "graph (command line): 5 does not fit. It takes a mapping."),
    ("plugins.x=[1]", "plugins.x (command line): [1] does not fit. It takes a text."),
    ("~graph.rember", "graph.rember (command line): there is nothing to delete here. Leave the '~' override out."),
    ("input=file", "input.path (conf/input/file.yaml:5): a value is missing. Write input.path=…."),
    (
        "input.text=@missing.txt",
        "input.text (command line): the file 'missing.txt' cannot be read. "
        "Name a file after '@', or write '@@' for an at sign.",
    ),
    (
        "graph.reply._target_=os.system",
        "graph.reply._target_ (command line): an import path in a "
        "configuration is code. Name a registered stage or resource with 'use'.",
    ),
    (
        "graph.reply={_target_: os.system}",
        "graph.reply (command line): an import path in a configuration is "
        "code. Name a registered stage or resource with 'use'.",
    ),
    (
        "hydra.searchpath=[file:///x]",
        "hydra.searchpath (command line): files are read from the project folder only. Put them into its conf/.",
    ),
    (
        "hydra.job.env_copy=[HOME]",
        "hydra.job.env_copy (command line): it would save the environment to "
        "disk. Read a variable with ${oc.env:NAME}.",
    ),
    (
        "graph.other={use: pipeline/stry}",
        "graph.other.use (command line): there is no pipeline 'stry'. Did you "
        f"mean 'story'? There are: {shipped.pipelines()}.",
    ),
]


@pytest.mark.parametrize(("override", "message"), REFUSED, ids=[one[0] for one in REFUSED])
def test_an_override_is_refused(override: str, message: str, project: Project) -> None:
    assert project.faults(override) == [message]


def test_all_faults_of_a_command_line_are_told_at_once(project: Project) -> None:
    models = ", ".join(sorted(groups()["model"]))
    assert project.faults("tempratur=1", "model=qwn", "seed=1", "hello") == [
        "hello (command line): this is no override. Write key=value.",
        "tempratur (command line): there is no key 'tempratur'. Did you mean "
        f"'sampling.temperature'? There are: {TOP}.",
        f"model (command line): there is no 'qwn'. Did you mean 'qwen'? There are: {models}.",
    ]
    assert project.faults("sampling.stop=[a", "graph.x={", "seed=1") == [
        "sampling.stop (command line): the value cannot be read. Put it in quotes inside the shell's own: "
        "\"sampling.stop='…'\".",
        "graph.x (command line): the value cannot be read. Put it in quotes inside the shell's own: \"graph.x='…'\".",
    ]


@pytest.mark.parametrize(
    "overrides", [("input.text=Q: {a}", "input.path=b.csv"), ("input.path=b.csv", "input.text=Q: {a}")]
)
def test_a_text_beside_a_path_is_a_template_of_its_rows(overrides: tuple[str, str], project: Project) -> None:
    assert project.compose(*overrides).input == {"use": "input/file", "path": "b.csv", "text": "Q: {a}"}


def test_an_option_of_what_nobody_chose_is_told_with_what_there_is_to_choose(project: Project) -> None:
    what = "it is an option of what {}=… chooses, and nothing is chosen. Choose one of: {}."
    assert project.faults("reader.language=de", "documents.paths=[a.md]") == [
        f"graph.documents.paths (command line): {what.format('documents', 'files')}",
        f"resources.reader.language (command line): {what.format('reader', 'rapidocr, tesseract')}",
    ]


def test_repeat_is_part_of_the_content_only_when_there_is_one(project: Project) -> None:
    plain, once, thrice = project.compose(), project.compose("sweep.repeat=1"), project.compose("sweep.repeat=3")
    assert (plain.repeat, once.repeat, thrice.repeat) == (1, 1, 3)
    assert "repeat" not in plain.content()
    assert thrice.content()["repeat"] == 3
    assert plain == once != thrice


def test_a_text_is_read_from_a_file(project: Project) -> None:
    project.write("q.txt", "Zwei Zeilen,\n'zitiert' ${nicht} ersetzt: ü\n")
    assert project.compose("input.text=@q.txt").input["text"] == "Zwei Zeilen,\n'zitiert' ${nicht} ersetzt: ü"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"caf\xe9", "the file 'q.txt' is not UTF-8. Save it as UTF-8."),
        (b"x" * 65537, "the file 'q.txt' has over 65536 bytes. Give it as rows: input.path=…."),
    ],
)
def test_a_file_that_is_no_text_is_refused(content: bytes, problem: str, project: Project) -> None:
    project.write("q.txt", content)
    assert project.faults("input.text=@q.txt") == [f"input.text (command line): {problem}"]


TEXTS = [
    "",
    " ",
    "'",
    '"',
    "\\",
    "\\'",
    "it's \\\\'",
    "${a}",
    "\\${a}",
    "\\\\${a}",
    "a\nb\tc",
    "{,=}",
    "null",
    "日本語 🎉",
    "x ${",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_stands_for_itself(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    value = OverridesParser.create().parse_override(f"input.text={quoted(text)}").value()
    assert OmegaConf.create({"text": value}).text == text


def test_rewriting_twice_changes_nothing(project: Project) -> None:
    typed = ["input.text=it's, ${x}", "model=qwen", "engine.device=cpu", "~graph.remember", "hydra.run.dir=x"]
    once = rewrite(typed, read_groups())
    assert once == [
        "++input.text='it\\'s, \\${x}'",
        "model=qwen",
        "++resources.engine.device=cpu",
        "~graph.remember",
        "hydra.run.dir=x",
        "input=text",
    ]
    assert rewrite(once, read_groups()) == once
    assert rewrite(once, read_groups(), typed=False) == once
