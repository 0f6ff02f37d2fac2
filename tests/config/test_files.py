"""Files: what is wrong with one is said with its line, all at once, before OmegaConf sees it."""

from __future__ import annotations

import time

import pytest

from tests import shipped
from vllm_flow.config import groups
from vllm_flow.config.secrets import looks_secret

from .conftest import Project

HEAD = "# @package _global_\n"
SECRET = "a secret is written out. Write ${secret:NAME}; it is read from the environment variable NAME when it is used."
TARGET = "an import path in a configuration is code. Name a registered stage or resource with 'use'."
GROUPS = (
    "clock, context, documents, embedder, engine, experiment, facts, input, media, metrics, model, pipeline, reader, retrieval, sampling, "
    "store, tagger, tools, transcriber, web"
)

FAULTY = {
    "a list that does not end": (
        "graph: {a: [b\nseed: 1\n",
        ["pipelines/bad.yaml:3: this is no YAML: did not find expected ',' or ']'."],
    ),
    "a tab": ("graph:\n\ta: 1\n", ["pipelines/bad.yaml:3: a tab stands where YAML wants spaces. Indent with spaces."]),
    "keys written twice": (
        "graph:\n  a: {use: x/y}\n  b: {use: x/y, use: x/z}\n  a: {use: x/y}\n",
        [
            "graph.a (pipelines/bad.yaml:5): the key is written twice, first in line 3. Keep one of them.",
            "graph.b.use (pipelines/bad.yaml:4): the key is written twice, first in line 4. Keep one of them.",
        ],
    ),
    "a key that YAML reads as true": (
        "graph:\n  a: {use: x/y, on: 1}\n",
        ["graph.a (pipelines/bad.yaml:3): the key on is not a text. Put it in quotes."],
    ),
    "a Python object": (
        "graph:\n  a: !!python/object/apply:os.system [ls]\n",
        [
            "graph.a (pipelines/bad.yaml:3): the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not read. "
            "Write a plain value."
        ],
    ),
    "no mapping": ("hello\n", ["pipelines/bad.yaml:2: a file holds a mapping. Write `key: value` lines."]),
    "an alias inside its anchor": (
        "graph: &g\n  a: *g\n",
        ["pipelines/bad.yaml: an alias stands inside its own anchor. Write the value out."],
    ),
    "deep nesting": (
        f"graph: {'[' * 5000}{']' * 5000}\n",
        ["pipelines/bad.yaml:2: more than 40 levels lie inside each other. Write it flatter."],
    ),
    "import paths": (
        "graph:\n  a: {_target_: os.system}\n  b: [{_target_: x}]\n",
        [f"graph.a._target_ (pipelines/bad.yaml:3): {TARGET}", f"graph.b.0._target_ (pipelines/bad.yaml:4): {TARGET}"],
    ),
    "an unknown top-level key": (
        "sampler: 1\ngraph: {a: {use: x/y}}\n",
        [
            "sampler (pipelines/bad.yaml:2): there is no key 'sampler'. Did you "
            "mean 'sampling'? There are: clock, concurrency, "
            "context, documents, embedder, engine, experiment, facts, graph, input, media, metrics, model, output, pipeline, "
            "plugins, reader, resources, retrieval, sampling, seed, store, sweep, tagger, tools, transcriber, web."
        ],
    ),
    "values that are missing or lead nowhere": (
        "graph:\n  a:\n    use: x/y\n    b: ${nope.x}\n    c: ${seed}\n    d: [1, '${no:1}']\n  e:\n    f: ???\n",
        [
            "graph.a.b (pipelines/bad.yaml:5): Interpolation key 'nope.x' not found. "
            "Write a value, or the name of one that exists.",
            "graph.a.d.1 (pipelines/bad.yaml:7): Unsupported interpolation type no. "
            "Write a value, or the name of one that exists.",
            "graph.e.f (pipelines/bad.yaml:9): a value is missing. Write graph.e.f=….",
        ],
    ),
    "an environment variable that is not set": (
        "graph: {a: '${oc.env:VLLM_FLOW_NOT_SET}'}\n",
        [
            "graph.a (pipelines/bad.yaml:2): the environment variable VLLM_FLOW_NOT_SET is not set. Set it, or write "
            "${oc.env:VLLM_FLOW_NOT_SET,…} with a default."
        ],
    ),
    "a reference that does not end": (
        "graph: {a: '${x'}\n",
        [
            "graph.a (pipelines/bad.yaml:2): this is no reference. Write ${KEY}, "
            "or \\${ where the characters themselves "
            "are meant."
        ],
    ),
    "references that lead back to themselves": (
        "graph: {a: {x: '${graph.b}'}, b: {x: '${graph.a}'}}\n",
        ["graph (pipelines/bad.yaml:2): a reference in here leads back to itself. Write a value instead."],
    ),
    "infinity": (
        "graph: {a: .inf}\n",
        ["graph.a (pipelines/bad.yaml:2): infinity and NaN are no numbers here. Write a finite one, or null."],
    ),
    "a choice sent to another place": (
        "defaults:\n  - /model@graph.m: qwen\n",
        [
            "pipelines/bad.yaml:3: a group's values go to one place only. Leave '@' out of '/model@graph.m', and write "
            "the values out."
        ],
    ),
    "a search path of its own": (
        "hydra: {searchpath: [file:///x], job: {env_copy: [HOME]}}\n",
        [
            "hydra.searchpath (pipelines/bad.yaml:2): files are read from the "
            "project folder only. Put them into its conf/.",
            "hydra.job.env_copy (pipelines/bad.yaml:2): it would save the environment to disk. Read a variable with "
            "${oc.env:NAME}.",
        ],
    ),
    "items of defaults that are no choices": (
        "defaults: [5]\n",
        ["defaults: 'defaults' is a list with one choice per item. Write '- /group: choice' lines."],
    ),
    "a list for a mapping": (
        "graph: [1]\n",
        ["graph (pipelines/bad.yaml:2): this is a list, but conf/config.yaml:33 has a mapping here. Write a mapping."],
    ),
    "wrong types at the top": (
        "output: [a]\nseed: x\nconcurrency: 0\ngraph: 5\n",
        [
            "seed (pipelines/bad.yaml:3): 'x' does not fit. It takes an integer.",
            "concurrency (pipelines/bad.yaml:4): 0 does not fit. It takes an integer of 1 or more.",
            "output (pipelines/bad.yaml:2): ['a'] does not fit. It takes a text.",
            "graph (pipelines/bad.yaml:5): 5 does not fit. It takes a mapping.",
        ],
    ),
    "a group that is not there": (
        "defaults: [/modl: qwen]\n",
        [f"modl (pipelines/bad.yaml:2): there is no group 'modl'. Did you mean 'model'? There are: {GROUPS}."],
    ),
    "a choice that is not there": (
        "defaults:\n  - _self_\n  - override /store: memry\n",
        ["store (pipelines/bad.yaml:4): there is no 'memry'. Did you mean 'memory'? There are: memory, sqlite."],
    ),
    "an override of nothing": (
        "defaults: [override /context: full]\n",
        [
            "context (pipelines/bad.yaml:2): nothing here chooses from the group 'context', so there is no choice to "
            "change. Leave it out."
        ],
    ),
    "a second choice": (
        "defaults: [/sampling: greedy]\n",
        ["sampling: two files choose 'sampling'. Write 'override /sampling' in the later one."],
    ),
    "an open choice": (
        "defaults:\n  - /context: ???\n",
        [
            "context: nothing is chosen. Write context=NAME. There are: bm25, facts, full, retrieval, sink, story, summary, window."
        ],
    ),
    "two choices in one item": (
        "defaults:\n  - {a: b, c: d}\n",
        ["pipelines/bad.yaml: 'defaults' is a list with one choice per item. Write '- /group: choice' lines."],
    ),
    "defaults that are no list": (
        "defaults: {a: b}\n",
        ["pipelines/bad.yaml: 'defaults' is a list with one choice per item. Write '- /group: choice' lines."],
    ),
    "overrides that do not stand last": (
        "defaults: [override /sampling: greedy, /context: full]\n",
        ["pipelines/bad.yaml: an 'override' line stands before others in 'defaults'. Put the overrides last."],
    ),
    "defaults that lead back to themselves": (
        "defaults: [/pipeline/bad, _self_]\n",
        ["defaults: the defaults lists lead back to themselves. Remove one of them."],
    ),
    "a value below a reference": (
        "resources: {engine: {model: {path: /x}}}\n",
        [
            "resources.engine.model (pipelines/bad.yaml:2): 'resources.engine.model' is ${model}, which this would "
            "replace. Write model instead."
        ],
    ),
    "a pipeline that is not there": (
        "graph: {a: {use: pipeline/stry}}\noutput: a\n",
        [
            "graph.a.use (pipelines/bad.yaml:2): there is no pipeline 'stry'. Did you mean 'story'? "
            f"There are: {shipped.pipelines('bad')}."
        ],
    ),
}


@pytest.mark.parametrize("what", FAULTY)
def test_a_faulty_file_is_refused(what: str, project: Project) -> None:
    text, messages = FAULTY[what]
    project.pipeline("bad", text)
    assert project.faults("pipeline=bad") == messages


def test_a_file_that_is_too_long_is_refused(project: Project) -> None:
    project.pipeline("bad", "#" * (1 << 20))
    assert project.faults("pipeline=bad") == [
        f"pipelines/bad.yaml: the file has {(1 << 20) + len(HEAD)} bytes. At most 1048576 are read."
    ]


def test_a_file_that_is_not_utf_8_is_refused(project: Project) -> None:
    project.write("pipelines/bad.yaml", b"# @package _global_\ngraph:\n  a: {use: caf\xe9}\n")
    assert project.faults("pipeline=bad") == ["pipelines/bad.yaml:3: the text is not UTF-8. Save the file as UTF-8."]


def test_an_alias_bomb_is_refused_in_less_than_a_second(project: Project) -> None:
    project.compose()
    lines = ["graph:", f"  a: &a [{','.join('x' * 9)}]"]
    lines += [f"  {chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(12)]
    project.pipeline("bad", "\n".join(lines) + "\n")
    start = time.perf_counter()
    assert project.faults("pipeline=bad") == [
        "pipelines/bad.yaml: with its aliases written out the file has over 20000 values. Write less."
    ]
    assert time.perf_counter() - start < 1


def test_aliases_and_merge_keys_within_the_limits_are_read(project: Project) -> None:
    project.pipeline("ref", "graph:\n  a: &a {use: x/y, k: 1}\n  b: {<<: *a, k: 2}\n  c: *a\noutput: c\n")
    spec = project.compose("pipeline=ref")
    assert spec.graph["b"] == {"use": "x/y", "k": 2}
    assert spec.graph["c"] == {"use": "x/y", "k": 1}
    assert spec.origin(("graph", "b", "use")) == "pipelines/ref.yaml:3"
    assert spec.origin(("graph", "b", "k")) == "pipelines/ref.yaml:4"


def test_a_byte_order_mark_is_no_part_of_the_text(project: Project) -> None:
    project.write("conf/sampling/mine.yaml", b"\xef\xbb\xbf# @package sampling\ntemperature: 1e-1\n")
    assert project.compose("sampling=mine").sampling == {"temperature": 0.1}


@pytest.mark.parametrize(
    ("path", "text", "override", "message"),
    [
        (
            "pipelines/bad.yaml",
            "graph: {a: {use: x/y}}\n",
            "pipeline=bad",
            "pipelines/bad.yaml:1: the values would go to 'pipeline'. Line 1 must "
            "be '# @package _global_', as the others "
            "of the group 'pipeline' have.",
        ),
        (
            "pipelines/bad.yaml",
            "# Bad.\n# @package _global_\ngraph: {a: {use: x/y}}\n",
            "pipeline=bad",
            "pipelines/bad.yaml:2: '# @package' counts in line 1 only, and is ignored here. Move it up.",
        ),
        (
            "conf/engine/bad.yaml",
            "# @package engine\nuse: engine/echo\n",
            "engine=bad",
            "conf/engine/bad.yaml:1: the values would go to 'engine'. Line 1 must "
            "be '# @package resources.engine', as the "
            "others of the group 'engine' have.",
        ),
    ],
)
def test_a_misplaced_package_line_is_refused(
    path: str, text: str, override: str, message: str, project: Project
) -> None:
    project.write(path, text)
    assert project.faults(override) == [message]


def test_the_faults_of_all_files_are_told_at_once(project: Project) -> None:
    project.pipeline("bad", "graph: [\n")
    project.write("conf/sampling/bad.yaml", "# @package sampling\ntop_p: 1\ntop_p: 2\n")
    assert sorted(project.faults("pipeline=bad", "sampling=bad")) == [
        "pipelines/bad.yaml:3: this is no YAML: did not find expected node content.",
        "sampling.top_p (conf/sampling/bad.yaml:3): the key is written twice, first in line 2. Keep one of them.",
    ]


def test_a_choice_in_a_file_is_refused_with_its_line(project: Project) -> None:
    project.write("conf/experiment/mine.yaml", "# @package _global_\ndefaults:\n  - override /model: qwn\n")
    models = ", ".join(sorted(groups()["model"]))
    assert project.faults("experiment=mine") == [
        f"model (conf/experiment/mine.yaml:3): there is no 'qwn'. Did you mean 'qwen'? There are: {models}."
    ]


def test_a_model_may_choose_its_engine_and_the_command_line_wins(project: Project) -> None:
    chosen = "# @package model\ndefaults:\n  - override /engine@_global_.engine: echo\nname: mine\n"
    project.write("conf/model/mine.yaml", chosen)
    assert project.compose("model=mine").resources["engine"]["use"] == "engine/echo"
    assert project.compose("model=mine", "engine=transformers").resources["engine"]["use"] == "engine/transformers"
    project.write("conf/model/mine.yaml", chosen.replace("@_global_.engine", ""))
    assert project.faults("model=mine") == [
        "engine (conf/model/mine.yaml:3): here the choice has a longer name. "
        "Write 'override /engine@_global_.engine: …'."
    ]


def test_secrets_are_references_and_nothing_else(project: Project) -> None:
    project.pipeline(
        "bad",
        "graph:\n  a:\n    api_key: sk-1\n    password: ${oc.env:PW}\n    token: ${secret:TOKEN}\n    eos_token: </s>\n"
        "    url: ${oc.env:HF_TOKEN}\n    max_tokens: 5\n    hf_token: null\n  "
        "  headers: {Authorization: Bearer sk-2}\n"
        "    auth: {hf_token: [sk-3]}\n",
    )
    faults = project.faults("pipeline=bad")
    assert faults == [
        f"graph.a.api_key (pipelines/bad.yaml:4): {SECRET}",
        f"graph.a.password (pipelines/bad.yaml:5): {SECRET}",
        f"graph.a.url (pipelines/bad.yaml:8): {SECRET}",
        f"graph.a.headers.Authorization (pipelines/bad.yaml:11): {SECRET}",
        f"graph.a.auth.hf_token.0 (pipelines/bad.yaml:12): {SECRET}",
    ]
    assert "sk-" not in "".join(faults)


def test_a_secret_behind_a_reference_is_found_too(project: Project) -> None:
    project.pipeline("bad", "graph:\n  a: {use: x/y, note: sk-1, api_key: '${..a.note}'}\noutput: a\n")
    assert project.faults("pipeline=bad") == [f"graph.a.api_key (pipelines/bad.yaml:3): {SECRET}"]


def test_a_secret_stays_a_reference_in_the_spec(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "sk-very-secret")
    spec = project.compose("model=qwen", "model.token=${secret:MY_TOKEN}")
    assert spec.resources["engine"]["model"]["token"] == "${secret:MY_TOKEN}"
    assert "sk-very-secret" not in str(spec.content())


@pytest.mark.parametrize(
    "override",
    ["model.api_key=sk-1", "+model.api_key='sk-1'", "resources.x={api_key: sk-1}", "model.password=${oc.env:PW}",
     "model.token=sk-1,sk-2", "hydra.job.env_set.API_KEY=sk-1", "model.api_key=[sk-1"],
)  # fmt: skip
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(override: str, project: Project) -> None:
    path = "resources.x.api_key" if "{" in override and "x=" in override else override.lstrip("+").partition("=")[0]
    assert project.faults(override) == [f"{path} (command line): {SECRET}"]


@pytest.mark.parametrize("key", ["api_key", "apiKey", "API_KEY", "token", "hf_token", "password", "client_secret"])
def test_a_key_of_a_secret_is_known(key: str) -> None:
    assert looks_secret(key)


@pytest.mark.parametrize("key", ["max_tokens", "eos_token", "key", "n", "token_ids", "secret_name", "text", "", "a.b"])
def test_other_keys_are_not_taken_for_secrets(key: str) -> None:
    assert not looks_secret(key)
