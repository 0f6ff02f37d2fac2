"""Broken configurations and the exact words a user reads about each: every fault, once, and nothing but faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import fakes  # registers stages and an engine with known weaknesses
from vllm_flow.core import plugins, registry
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec

GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}
SOLVE = {
    "graph": {
        "prompt": {"use": "fuse/chat"},
        "schedule": {"use": "schedule/sampling"},
        "reply": {"use": "infer/generate"},
    },
    "output": "reply",
}

BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "unknown stage",
        {"prompt": {"use": "fuse/chatt"}},
        ["graph.prompt.use: there is no stage 'fuse/chatt'. Did you mean 'fuse/chat'? There are: {stages}."],
    ),
    (
        "unknown option",
        {"prompt": {"use": "fuse/chat", "sytem": "x"}},
        ["graph.prompt.sytem: there is no option 'sytem'. Did you mean 'system'? Options: budget, shares, system."],
    ),
    (
        "wrong option type",
        {"prompt": {"use": "fuse/chat", "system": 3}},
        ["graph.prompt.system: 3 does not fit. It takes a text, or null."],
    ),
    (
        "option out of range",
        {"context": {"use": "context/window", "turns": -1}},
        ["graph.context.turns: -1 does not fit. It takes an integer of 0 or more, or null."],
    ),
    (
        "option of the wrong kind",
        {"context": {"use": "context/window", "turns": "many"}},
        ["graph.context.turns: 'many' does not fit. It takes an integer of 0 or more, or null."],
    ),
    (
        "missing option",
        {"check": {"use": "fake/options"}, "output": "check"},
        ["graph.check.mode: 'mode' is missing. It takes a text."],
    ),
    (
        "options that do not fit together",
        {"check": {"use": "fake/options", "mode": "a", "range": {"low": 11}}, "output": "check"},
        ["graph.check.range: low 11 is above high 10. Swap them."],
    ),
    (
        "a list where a mapping belongs",
        {"check": {"use": "fake/options", "mode": "a", "range": [1]}, "output": "check"},
        ["graph.check.range: [1] does not fit. It takes a mapping with: high, low, or null."],
    ),
    (
        "no regular expression",
        {"candidates": {"use": "infer/sample"}, "reply": {"use": "select/vote", "answer": "("}},
        [
            "graph.reply.answer: '(' is no regular expression: missing ), unterminated subpattern at position 0. Mend or remove it."
        ],
    ),
    (
        "node is a text",
        {"prompt": "fuse/chat"},
        ["graph.prompt: 'fuse/chat' is no stage. Write a mapping with `use: …`."],
    ),
    (
        "node without use",
        {"prompt": {"system": "x"}},
        ["graph.prompt.use: 'use' is missing. It names the stage. There are: {stages}."],
    ),
    ("use is a number", {"prompt": {"use": 7}}, ["graph.prompt.use: 7 is no name. There are: {stages}."]),
    ("no nodes", {"graph": {}}, ["graph: there are no nodes. A graph is a mapping of names to `{use: …}`."]),
    (
        "name is no parameter",
        {"my prompt": {"use": "fuse/chat"}},
        ["graph.my prompt: 'my prompt' cannot be a parameter's name. Use letters, digits and _."],
    ),
    (
        "name of a given value",
        {"sampling": {"use": "schedule/sampling"}},
        ["graph.sampling: 'sampling' is given to every graph. Choose another name for this value."],
    ),
    (
        "name of a resource",
        {"engine": {"use": "schedule/sampling"}},
        ["graph.engine: 'engine' is given to every graph. Choose another name for this value."],
    ),
    (
        "missing producer",
        {"context": None},
        [
            "graph.prompt: nothing makes 'context', which fuse/chat asks for. There are: engine, prompt, reply, sampling, schedule, store, turn.",
            "graph.remember: nothing makes 'context', which context/update asks for. There are: engine, prompt, reply, sampling, schedule, store, turn.",
        ],
    ),
    (
        "missing producer by from",
        {"prompt": {"use": "fuse/chat", "from": {"context": "contxt"}}},
        [
            "graph.prompt.from.context: nothing makes 'contxt', which fuse/chat asks for. Did you mean 'context'? There are: context, engine, prompt, reply, sampling, schedule, store, turn."
        ],
    ),
    (
        "from names no parameter",
        {"prompt": {"use": "fuse/chat", "from": {"contxt": "context"}}},
        [
            "graph.prompt.from.contxt: fuse/chat has no parameter 'contxt'. Did you mean 'context'? It asks for: context, described, documents, engine, facts, offered, retrieved, schedule, story, summary, turn."
        ],
    ),
    (
        "from is a text",
        {"prompt": {"use": "fuse/chat", "from": "context"}},
        ["graph.prompt.from: 'context' does not fit. Write `from: {parameter: value}`."],
    ),
    (
        "wrong value type",
        {"reply": {"use": "infer/generate", "from": {"prompt": "schedule"}}},
        [
            "graph.reply.from.prompt: 'schedule', made by schedule/sampling, is Schedule, but infer/generate needs Prompt. Values that fit: prompt; wire one with `from`."
        ],
    ),
    (
        "wrong resource type",
        {"reply": {"use": "infer/generate", "from": {"engine": "store"}}},
        [
            "graph.reply.from.engine: 'store' is MemoryStore, but infer/generate needs Engine. Values that fit: engine; wire one with `from`."
        ],
    ),
    (
        "value nobody reads",
        {"spare": {"use": "schedule/sampling"}},
        [
            "graph.spare: nobody reads this value, and it is not the output. Read it, name it as output, or remove the node."
        ],
    ),
    (
        "cycle",
        {"context": {"use": "fake/guard"}, "prompt": {"use": "fake/guard", "from": {"reply": "context"}}},
        [
            "graph: the values need each other in a circle: context → reply → prompt → context. Wire one of them to another value.",
            "graph.schedule: 'context', made by fake/guard, is Completion, but schedule/sampling needs Context | None. No value here fits.",
            "graph.reply: 'prompt', made by fake/guard, is Completion, but infer/generate needs Prompt. No value here fits.",
            "graph.remember: 'context', made by fake/guard, is Completion, but context/update needs Context. No value here fits.",
        ],
    ),
    (
        "own cycle",
        {"reply": {"use": "fake/guard"}},
        [
            "graph: the values need each other in a circle: reply → reply. Wire one of them to another value.",
            "graph.prompt: nobody reads this value, and it is not the output. Read it, name it as output, or remove the node.",
        ],
    ),
    (
        "output nobody makes",
        {"output": "repyl"},
        ["output: no node makes 'repyl'. Did you mean 'reply'? There are: context, prompt, reply, schedule."],
    ),
    (
        "output is an effect",
        {"output": "remember"},
        [
            "output: 'remember' is no value: context/update is kept for its effect. There are: context, prompt, reply, schedule."
        ],
    ),
    ("output is missing", {"output": None}, ["output: null does not fit. It takes a text."]),
    (
        "when names nothing",
        {"reply": {"use": "infer/generate", "when": "asked"}},
        [
            "graph.reply.when: nothing makes 'asked', which decides whether this node runs. There are: context, engine, prompt, reply, sampling, schedule, store, turn."
        ],
    ),
    (
        "when is a number",
        {"reply": {"use": "infer/generate", "when": 3}},
        ["graph.reply.when: 3 does not fit. Write the name of one value, or `not` and one value."],
    ),
    (
        "a value that may be missing",
        {"asked": {"use": "fake/asks"}, "reply": {"use": "infer/generate", "when": "asked"}},
        [
            "graph.remember: 'reply', made by infer/generate, is Completion | None because of its `when`, but context/update needs Completion. No value here fits."
        ],
    ),
    (
        "each names no parameter",
        {"reply": {"use": "infer/generate", "each": "promt"}},
        [
            "graph.reply.each: infer/generate has no parameter 'promt'. Did you mean 'prompt'? It asks for: adapter, engine, prompt, schedule."
        ],
    ),
    (
        "each over a single value",
        {"reply": {"use": "infer/generate", "each": "prompt"}},
        [
            "graph.reply: 'prompt', made by fuse/chat, is Prompt, but infer/generate needs tuple[Prompt, ...]. No value here fits.",
            "graph.remember: 'reply', made by infer/generate, is tuple[Completion, ...], but context/update needs Completion. No value here fits.",
        ],
    ),
    (
        "each makes a tuple",
        {
            "prompts": {"use": "fake/split"},
            "prompt": None,
            "reply": {"use": "infer/generate", "each": "prompt", "from": {"prompt": "prompts"}},
        },
        [
            "graph.remember: 'reply', made by infer/generate, is tuple[Completion, ...], but context/update needs Completion. No value here fits."
        ],
    ),
    (
        "unknown resource",
        {"resources": {"engine": {"use": "engine/ecko"}, "store": {"use": "store/memory"}}},
        [
            "resources.engine.use: there is no resource 'engine/ecko'. Did you mean 'engine/echo'? There are: {resources}."
        ],
    ),
    (
        "unknown resource option",
        {"resources": {"engine": {"use": "engine/echo", "size": 1}, "store": {"use": "store/memory"}}},
        ["resources.engine.size: there is no option 'size'. Options: none."],
    ),
    (
        "resource is a text",
        {"resources": {"engine": "engine/echo", "store": {"use": "store/memory"}}},
        ["resources.engine: 'engine/echo' is no resource. Write a mapping with `use: …`."],
    ),
    (
        "no engine",
        {"resources": {"store": {"use": "store/memory"}}},
        [
            "graph.reply: nothing makes 'engine', which infer/generate asks for. There are: context, prompt, reply, sampling, schedule, store, turn."
        ],
    ),
    (
        "model without source",
        {
            "resources": {
                "engine": {"use": "engine/transformers", "model": {"name": "x"}},
                "store": {"use": "store/memory"},
            }
        },
        [
            "resources.engine.model: nothing says where the weights come from. Give path, gguf, package, hub or architecture."
        ],
    ),
    (
        "architecture that does not divide",
        {
            "resources": {
                "engine": {
                    "use": "engine/transformers",
                    "model": {"name": "x", "architecture": {"hidden_size": 30, "layers": 1, "heads": 4}},
                },
                "store": {"use": "store/memory"},
            }
        },
        [
            "resources.engine.model.architecture: hidden_size is 30, which 4 heads cannot share evenly. Choose a multiple."
        ],
    ),
    (
        "unknown device",
        {
            "resources": {
                "engine": {"use": "engine/transformers", "device": "gpu", "model": {"name": "x", "path": "x"}},
                "store": {"use": "store/memory"},
            }
        },
        ["resources.engine.device: 'gpu' does not fit. It takes one of: auto, cpu, cuda, mps."],
    ),
    (
        "sampling out of range",
        {
            "sampling_": {
                "temperature": -0.1,
                "top_p": 0,
                "top_k": 0,
                "min_p": 2,
                "repetition_penalty": 0,
                "max_tokens": 0,
            }
        },
        [
            "sampling.temperature: -0.1 does not fit. It takes a number of 0 or more.",
            "sampling.top_p: 0 does not fit. It takes a number above 0 and at most 1.",
            "sampling.top_k: 0 does not fit. It takes an integer of 1 or more, or null.",
            "sampling.min_p: 2 does not fit. It takes a number from 0 to 1.",
            "sampling.repetition_penalty: 0 does not fit. It takes a number above 0.",
            "sampling.max_tokens: 0 does not fit. It takes an integer of 1 or more.",
        ],
    ),
    (
        "sampling typo",
        {"sampling_": {"temprature": 1}},
        [
            "sampling.temprature: there is no option 'temprature'. Did you mean 'temperature'? Options: bad_words, dry_allowed_length, dry_base, dry_multiplier, dry_sequence_breakers, end_bias, epsilon_cutoff, frequency_penalty, logit_bias, max_tokens, min_p, min_tokens, n, presence_penalty, repetition_penalty, stop, stop_token_ids, temperature, top_k, top_n_sigma, top_p, typical_p, xtc_probability, xtc_threshold."
        ],
    ),
    (
        "sampling of the wrong type",
        {"sampling_": {"temperature": "hot", "stop": "END", "n": 1.5}},
        [
            "sampling.temperature: 'hot' does not fit. It takes a number of 0 or more, or a schedule: {schedules}.",
            "sampling.stop: 'END' does not fit. It takes a list, each item a text that is not empty.",
            "sampling.n: 1.5 does not fit. It takes an integer of 1 or more.",
        ],
    ),
    (
        "an empty stop text",
        {"sampling_": {"stop": [""]}},
        ["sampling.stop.0: '' does not fit. It takes a text that is not empty."],
    ),
    (
        "several answers of one",
        {"sampling_": {"n": 3}},
        ["sampling.n: 3 answers are asked for, but infer/generate makes one. Use infer/sample (pipeline=best_of)."],
    ),
    (
        "schedule that sets a typo",
        {"schedule": {"use": "schedule/sampling", "set": {"temprature": 0}}},
        [
            "graph.schedule.set.temprature: there is no option 'temprature'. Did you mean 'temperature'? Options: bad_words, dry_allowed_length, dry_base, dry_multiplier, dry_sequence_breakers, end_bias, epsilon_cutoff, frequency_penalty, logit_bias, max_tokens, min_p, min_tokens, n, presence_penalty, repetition_penalty, stop, stop_token_ids, temperature, top_k, top_n_sigma, top_p, typical_p, xtc_probability, xtc_threshold."
        ],
    ),
    (
        "schedule that sets several answers",
        {"schedule": {"use": "schedule/sampling", "set": {"n": 2}}},
        ["graph.reply: 2 answers are asked for, but infer/generate makes one. Use infer/sample (pipeline=best_of)."],
    ),
    (
        "an answer that must be longer than it may be",
        {
            "sampling_": {"max_tokens": 5, "min_tokens": 6},
            "resources": {
                "engine": {"use": "engine/transformers", "model": {"name": "x", "hub": "me/x"}},
                "store": {"use": "store/memory"},
            },
        },
        ["sampling.min_tokens: min_tokens 6 is more than max_tokens 5. Lower the one, or raise the other."],
    ),
    (
        "a schedule that sets an answer to be longer than it may be",
        {
            "schedule": {"use": "schedule/sampling", "set": {"min_tokens": 500}},
            "resources": {
                "engine": {"use": "engine/transformers", "model": {"name": "x", "hub": "me/x"}},
                "store": {"use": "store/memory"},
            },
        },
        ["graph.schedule: min_tokens 500 is more than max_tokens 256. Lower the one, or raise the other."],
    ),
    (
        "a logit bias of what are no ids",
        {"sampling_": {"logit_bias": {" Paris": 1, 7: 101, "-1": 2}}},
        [
            "sampling.logit_bias: ' Paris' does not fit. It takes an integer of 0 or more, or a text of digits.",
            "sampling.logit_bias: '-1' does not fit. It takes an integer of 0 or more, or a text of digits.",
            "sampling.logit_bias.7: 101 does not fit. It takes a number from -100 to 100.",
        ],
    ),
    (
        "engine cannot honour",
        {
            "sampling_": {"top_k": 5, "min_p": 0.1},
            "resources": {"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}},
        },
        [
            "sampling.top_k: the engine cannot honour it. Remove it, or choose another engine; this one takes: max_tokens, temperature, top_p.",
            "sampling.min_p: the engine cannot honour it. Remove it, or choose another engine; this one takes: max_tokens, temperature, top_p.",
        ],
    ),
    (
        "engine without logprobs",
        {
            "reply": {"use": "infer/generate", "logprobs": True},
            "resources": {"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}},
        },
        ["graph.reply: the engine gives no log-probabilities. Remove `logprobs`, or choose another engine."],
    ),
    (
        "alternatives without logprobs",
        {"reply": {"use": "infer/generate", "top_logprobs": 3}},
        ["graph.reply.top_logprobs: 3 does nothing by itself. Set `logprobs: true` beside it."],
    ),
    (
        "engine without alternatives",
        {
            "reply": {"use": "infer/generate", "logprobs": True, "top_logprobs": 3},
            "resources": {"engine": {"use": "fake/engine", "logprobs": True}, "store": {"use": "store/memory"}},
        },
        ["graph.reply: the engine lists no alternatives. Remove `top_logprobs`, or choose another engine."],
    ),
    (
        "unknown nested pipeline",
        {
            "reply": {"use": "pipeline/slove"},
            "pipelines": {
                "solve": {
                    "graph": {
                        "prompt": {"use": "fuse/chat"},
                        "schedule": {"use": "schedule/sampling"},
                        "reply": {"use": "infer/generate"},
                    },
                    "output": "reply",
                }
            },
        },
        ["graph.reply.use: there is no pipeline 'slove'. Did you mean 'solve'? There are: solve."],
    ),
    (
        "nested pipeline with options",
        {
            "reply": {"use": "pipeline/solve", "system": "x"},
            "prompt": None,
            "schedule": None,
            "pipelines": {
                "solve": {
                    "graph": {
                        "prompt": {"use": "fuse/chat"},
                        "schedule": {"use": "schedule/sampling"},
                        "reply": {"use": "infer/generate"},
                    },
                    "output": "reply",
                }
            },
        },
        ["graph.reply.system: pipeline/solve takes no options. Beside `use` it takes: each, from, when."],
    ),
    (
        "fault inside a nested pipeline",
        {
            "reply": {"use": "pipeline/solve"},
            "prompt": None,
            "schedule": None,
            "pipelines": {
                "solve": {
                    "graph": {
                        "prompt": {"use": "fuse/chatt"},
                        "schedule": {"use": "schedule/sampling"},
                        "reply": {"use": "infer/generate"},
                    },
                    "output": "reply",
                }
            },
        },
        [
            "pipelines.solve.graph.prompt.use: there is no stage 'fuse/chatt'. Did you mean 'fuse/chat'? There are: {stages}."
        ],
    ),
    (
        "nested pipeline lacks an input",
        {
            "context": {"use": "fake/begin", "when": "turn"},
            "reply": {"use": "pipeline/solve", "from": {"context": "history"}},
            "prompt": None,
            "schedule": None,
            "pipelines": {
                "solve": {
                    "graph": {
                        "prompt": {"use": "fuse/chat"},
                        "schedule": {"use": "schedule/sampling"},
                        "reply": {"use": "infer/generate"},
                    },
                    "output": "reply",
                }
            },
        },
        [
            "graph.reply.from.context: nothing makes 'history', which pipeline/solve asks for. Did you mean 'store'? There are: context, engine, reply, sampling, store, turn.",
            "graph.remember: 'context', made by fake/begin, is Context | None because of its `when`, but context/update needs Context. No value here fits.",
        ],
    ),
    (
        "wrong value into a nested pipeline",
        {
            "reply": {"use": "pipeline/solve", "from": {"context": "turn"}},
            "prompt": None,
            "schedule": None,
            "pipelines": {
                "solve": {
                    "graph": {
                        "prompt": {"use": "fuse/chat"},
                        "schedule": {"use": "schedule/sampling"},
                        "reply": {"use": "infer/generate"},
                    },
                    "output": "reply",
                }
            },
        },
        [
            "graph.reply.from.context: 'turn' is Turn, but pipeline/solve needs Context. Values that fit: context; wire one with `from`."
        ],
    ),
    (
        "pipelines that use each other",
        {
            "reply": {"use": "pipeline/a"},
            "prompt": None,
            "schedule": None,
            "pipelines": {
                "a": {"graph": {"x": {"use": "pipeline/b"}}, "output": "x"},
                "b": {"graph": {"y": {"use": "pipeline/a"}}, "output": "y"},
            },
        },
        ["pipelines.b.graph.y.use: the pipeline uses itself: a → b → a. Break the circle."],
    ),
    (
        "votes without candidates",
        {"reply": {"use": "select/vote"}},
        [
            "graph.reply: nothing makes 'candidates', which select/vote asks for. There are: context, engine, prompt, reply, sampling, schedule, store, turn."
        ],
    ),
    (
        "best without scores",
        {"candidates": {"use": "infer/sample"}, "reply": {"use": "select/best"}},
        [
            "graph.reply: nothing makes 'scores', which select/best asks for. Did you mean 'store'? There are: candidates, context, engine, prompt, reply, sampling, schedule, store, turn."
        ],
    ),
    (
        "stage without types",
        {"text": {"use": "fake/untyped"}, "output": "text"},
        ["graph.text: fake/untyped: 'turn' has no type. Annotate every parameter of run and its return."],
    ),
    (
        "stage that takes anything",
        {"text": {"use": "fake/star"}, "output": "text"},
        [
            "graph.text: fake/star: '**values: 'Any'' is no port: it takes no value by its name. Write each parameter of run out."
        ],
    ),
    (
        "option of an unusable type",
        {"text": {"use": "fake/listed", "names": [1]}, "output": "text"},
        [
            "graph.text: fake/listed: the option 'names': list[int] is no type of an option. Use int, float, str, bool, Literal, tuple[…, ...], Mapping or a dataclass."
        ],
    ),
    (
        "option of an unknown type",
        {"text": {"use": "fake/undefined", "names": 1}, "output": "text"},
        ["graph.text: fake/undefined: name 'Nowhere' is not defined."],
    ),
    (
        "plugin file that is missing",
        {"plugins": {"mine": "stages/nowhere.py"}},
        [
            "plugins.mine: 'stages/nowhere.py' cannot be imported: FileNotFoundError: there is no file {here}/stages/nowhere.py. Mend it, or do without it."
        ],
    ),
    (
        "package that is not installed",
        {"prompt": {"use": "acme:fuse/chat"}},
        ["graph.prompt.use: no installed package offers the plugin 'acme'. Installed: none."],
    ),
    (
        "seed and concurrency",
        {"seed": "x", "concurrency": 0},
        [
            "seed: 'x' does not fit. It takes an integer.",
            "concurrency: 0 does not fit. It takes an integer of 1 or more.",
        ],
    ),
    ("graph is a list", {"graph": [1]}, ["graph: [1] does not fit. It takes a mapping."]),
    (
        "unknown input",
        {"input": {"use": "input/fil"}},
        [
            "input.use: there is no input 'input/fil'. Did you mean 'input/file'? There are: input/file, input/stdin, input/text."
        ],
    ),
    ("input without path", {"input": {"use": "input/file"}}, ["input.path: 'path' is missing. It takes a text."]),
    (
        "several at once",
        {
            "context": None,
            "prompt": {"use": "fuse/chatt"},
            "schedule": {"use": "schedule/sampling", "sett": {}},
            "sampling_": {"top_p": 2},
            "spare": {"use": "fake/text"},
        },
        [
            "graph.prompt.use: there is no stage 'fuse/chatt'. Did you mean 'fuse/chat'? There are: {stages}.",
            "graph.schedule.sett: there is no option 'sett'. Did you mean 'set'? Options: set.",
            "graph.remember: nothing makes 'context', which context/update asks for. There are: engine, prompt, reply, sampling, schedule, spare, store, turn.",
            "sampling.top_p: 2 does not fit. It takes a number above 0 and at most 1.",
        ],
    ),
]


def spec(**changes: Any) -> RunSpec:
    """The dialogue's spec with nodes changed, added or, with None, taken away; other keys replace the spec's own."""
    names = ("resources", "pipelines", "plugins", "seed", "concurrency", "input")
    own = {key: changes.pop(key) for key in names if key in changes}
    output, sampling = changes.pop("output", "reply"), changes.pop("sampling_", {})
    graph = changes.pop("graph", None)
    if graph is None:
        graph = {name: entry for name, entry in {**GRAPH, **changes}.items() if entry is not None}
    own.setdefault("resources", {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}})
    return RunSpec("test", graph, output, sampling=sampling, **own)


def faults_of(broken: RunSpec) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(broken)
    return [str(fault) for fault in caught.value.faults]


def test_the_configuration_that_is_broken_below_is_sound() -> None:
    assert [node.name for node in Pipeline.build(spec()).graph.nodes] == [
        "context",
        "schedule",
        "prompt",
        "reply",
        "remember",
    ]


@pytest.mark.parametrize(("changes", "words"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN])
def test_a_broken_configuration_says_what_is_wrong_and_what_would_be_right(
    changes: dict[str, Any], words: list[str]
) -> None:
    plugins.load_built_in()
    known = {
        "{stages}": ", ".join(entry.name for entry in registry.stage),
        "{schedules}": ", ".join(entry.name for entry in registry.schedule),
        "{resources}": ", ".join(entry.name for entry in registry.resource),
        "{here}": str(Path.cwd()),
    }
    expected = []
    for line in words:
        for mark, text in known.items():
            line = line.replace(mark, text)  # noqa: PLW2901  the same line, filled in
        expected.append(line)
    assert faults_of(spec(**dict(changes))) == expected


def test_a_fault_says_where_it_was_written() -> None:
    broken = spec(prompt={"use": "fuse/chatt", "sytem": "x"}, output="repyl")
    placed = RunSpec(
        **{**broken.__dict__, "origins": {("graph", "prompt"): "pipelines/x.yaml:5", ("output",): "command line"}}
    )
    assert [fault.origin for fault in _error(placed).faults] == ["pipelines/x.yaml:5", "command line"]


def test_building_opens_nothing() -> None:
    log = fakes.fresh_log()
    engine = {"use": "fake/engine", "fails_to_open": True}
    Pipeline.build(spec(resources={"engine": engine, "store": {"use": "store/sqlite", "path": "/nowhere/x"}}))
    assert log.opened == []


def test_there_are_more_than_forty_of_them() -> None:
    assert len(BROKEN) >= 60


def _error(broken: RunSpec) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(broken)
    return caught.value
