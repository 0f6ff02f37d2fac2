"""The schema finds in an editor what `check` finds, in the same line; and line 2 of every shipped file leads to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator

from tests import fakes  # noqa: F401  # registers stages with options that cannot be read
from vllm_flow.config import compose, groups, schema
from vllm_flow.config.described import described
from vllm_flow.config.files import ConfigFile, read
from vllm_flow.config.layers import Layer
from vllm_flow.core.errors import ConfigError, Fault
from vllm_flow.core.moving import Moving
from vllm_flow.core.options import at_least
from vllm_flow.core.pipeline import Pipeline

from .conftest import Project

ROOT = Path(__file__).parents[2]
COMMITTED = json.loads((ROOT / "conf" / "schema.json").read_text(encoding="utf-8"))
SHIPPED = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "pipelines").glob("*.yaml")]
)
EDITOR_LINE = re.compile(r"# yaml-language-server: \$schema=(?P<file>[^#]+)(#/\$defs/(?P<part>\w+))?")

# The file, what stands there, and what is written instead. The last line of that is the one to be pointed out.
MUTANTS = [
    ("conf/config.yaml", "seed: 0", "sede: 0"),
    ("conf/config.yaml", "seed: 0", "seed: zero"),
    ("conf/config.yaml", "seed: 0", "seed: [0]"),
    ("conf/config.yaml", "concurrency: 256", "concurrency: 0"),
    ("conf/config.yaml", "resources: {}", "resources: [1]"),
    ("conf/config.yaml", "plugins: {}", "plugins: {mine: 3}"),
    ("conf/config.yaml", "- /store: memory", "- /stor: memory"),
    ("conf/config.yaml", "- /store: memory", "- /store: memry"),
    ("conf/experiment/cold.yaml", "override /sampling: greedy", "override /sampling: greddy"),
    ("conf/experiment/cold.yaml", "override /sampling: greedy", "override /samplng: greedy"),
    ("conf/experiment/cold.yaml", "seed: 1", "seed: true"),
    ("conf/experiment/cold.yaml", "seed: 1", "sampling:\n  temprature: 1"),
    ("conf/experiment/cold.yaml", "seed: 1", "graph:\n  reply: {each: 3}"),
    ("conf/experiment/cold.yaml", "seed: 1", "graph: 3"),
    ("conf/experiment/cold.yaml", "seed: 1", "input: {use: input/jsnl}"),
    ("conf/experiment/cold.yaml", "seed: 1", "model: {nam: x}"),
    ("conf/experiment/temps.yaml", "  grid:", "  grdi:"),
    ("conf/experiment/temps.yaml", "sweep:\n", "sweep:\n  repeat: 0\n"),
    ("conf/clock/system.yaml", "zone: null", "zone: 8"),
    ("conf/clock/fixed.yaml", "time: ???", "time: 2026-11-24T09:30:00+08:00\nzone: x"),
    ("conf/clock/fixed.yaml", "time: ???", "time: 3"),
    ("conf/context/full.yaml", "use: context/full", "use: context/ful"),
    ("conf/context/facts.yaml", "most: 32", "most: 0"),
    ("conf/context/sink.yaml", "first: 2", "first: 0"),
    ("conf/context/story.yaml", "every: 2", "every: 0"),
    ("conf/context/summary.yaml", "every: 3", "evry: 3"),
    ("conf/context/window.yaml", "turns: 8", "turns: -1"),
    ("conf/context/window.yaml", "turns: 8", "turns: many"),
    ("conf/context/window.yaml", "turns: 8", "turns: 8\nturn: 8"),
    ("conf/context/bm25.yaml", "found: 4", "found: 0"),
    ("conf/context/retrieval.yaml", "turns: 4", "turns: 4\nabove: 2"),
    ("conf/documents/files.yaml", 'roots: ["${beside:support}"]', "share: {most: few}"),
    ("conf/embedder/minilm.yaml", "path: null", "path: 3"),
    ("conf/experiment/rated.yaml", "{use: judge/rating}", "{use: judge/rating, wrost: 2}"),
    ("conf/experiment/page.yaml", "    use: source/web", "    use: source/wbe"),
    ("conf/facts/today.yaml", "language: en", "language: fr"),
    ("conf/reader/rapidocr.yaml", "use: ocr/rapidocr", "use: ocr/rapidcr"),
    ("conf/reader/tesseract.yaml", "language: eng", "language: 3"),
    ("conf/tagger/imagenet.yaml", "path: null", "path: 3"),
    ("pipelines/caption.yaml", "undescribed: error", "undescribed: fail"),
    ("pipelines/guide.yaml", "passage: 600", "passage: none"),
    ("pipelines/vqa.yaml", "  - caption", "  - captoin"),
    ("conf/retrieval/bm25.yaml", "earlier: 0", "earlier: 0\nabove: 0.2"),
    ("conf/retrieval/dense.yaml", "passages: 2", "passages: 0"),
    ("conf/tools/basic.yaml", "use: tools/functions", "use: tools/function"),
    ("conf/tools/search.yaml", "use: tools/functions", "use: tools/function"),
    ("conf/tools/weather.yaml", "use: tools/functions", "use: tools/function"),
    ("conf/tools/web.yaml", "use: tools/functions", "use: tools/function"),
    ("conf/web/http.yaml", "timeout_s: 10", "timeout_s: 0"),
    ("conf/engine/echo.yaml", "use: engine/echo", "use: engine/echo\ndevice: cpu"),
    ("conf/engine/llama_cpp.yaml", "gpu_layers: 0", "gpu_layers: -1"),
    ("conf/engine/openai.yaml", "dialect: openai", "dialect: opnai"),
    ("conf/engine/openai.yaml", "timeout_s: 120", "timeout_s: 0"),
    ("conf/engine/transformers.yaml", "use: engine/transformers", "use: engine/transfomers"),
    ("conf/engine/transformers.yaml", "device: auto", "device: gpu"),
    ("conf/engine/transformers.yaml", "threads: null", "threads: 0"),
    ("conf/engine/transformers.yaml", "use: engine/transformers\nmodel: ${model}", "use: engine/transformers"),
    ("conf/engine/transformers.yaml", "model: ${model}", "model:\n  name: x\n  context_length: 0"),
    ("conf/engine/vllm.yaml", "compile: false", "compile: no way"),
    ("conf/engine/vllm.yaml", "kv_cache_gib: 2", "kv_cache_gib: 0"),
    ("conf/input/file.yaml", "path: ???", "path: x\nfile: x"),
    ("conf/input/sample.yaml", "use: input/sample", "use: input/sampel"),
    ("conf/input/stdin.yaml", "use: input/stdin", "use: input/stdin\npath: x"),
    ("conf/input/text.yaml", "use: input/text", "use: input/txt"),
    ("conf/experiment/newest_media.yaml", "sounds: 2", "sounds: two"),
    ("conf/media/files.yaml", "use: media/files", "use: media/files\nmax_pixels: 0"),
    ("conf/config.yaml", "metrics: {}", "metrics: {correct: [1]}"),
    ("conf/metrics/choice.yaml", "letters: ABCD", "letters: ''"),
    ("conf/metrics/chrf.yaml", "word_order: 0", "word_order: -1"),
    ("conf/metrics/contains.yaml", "use: answer/contains", "use: answer/contain"),
    ("conf/metrics/default.yaml", "{}", "repetition: {n: 0}"),
    ("conf/metrics/default.yaml", "{}", "text: {use: answer/exact}"),
    ("conf/metrics/exact.yaml", "use: answer/exact", "use: answer/exact\n  ignore_cases: true"),
    ("conf/metrics/json.yaml", "schema: null", "schema: 3"),
    ("conf/metrics/likelihood.yaml", "{use: likelihood/perplexity}", "{use: likelihood/perplexity, k: 1}"),
    ("conf/metrics/number.yaml", "tolerance: 0", "tolerance: -1"),
    ("conf/metrics/regex.yaml", "pattern: '####\\s*(\\S+)'", "pattern: x\n  from: 3"),
    ("conf/metrics/repeated.yaml", "{use: samples/pass_at, k: 5}", "{use: samples/pass_at, k: five}"),
    ("conf/model/custom.yaml", "hidden_size: 64", "hidden_size: wide"),
    ("conf/model/custom.yaml", "layers: 2", "layers: 2\n  layer: 2"),
    ("conf/model/gpt.yaml", "served: gpt-4.1-mini", "serve: gpt-4.1-mini"),
    ("conf/model/qwen.yaml", "hub: Qwen/Qwen2.5-0.5B-Instruct", "hubs: Qwen/Qwen2.5-0.5B-Instruct"),
    ("conf/model/qwen3.yaml", "revision: null", "revision: [main]"),
    ("conf/model/smollm2.yaml", "context_length: null", "context_length: 0"),
    ("conf/sampling/annealed.yaml", "top_p: 0.95", "top_p: [0.95]"),
    ("conf/sampling/balanced.yaml", "top_p: 0.9", "topp: 0.9"),
    ("conf/sampling/balanced.yaml", "repetition_penalty: 1.1", "repetition_penalty: 0"),
    ("conf/sampling/creative.yaml", "min_p: 0.05", "min_p: 5"),
    ("conf/sampling/diverse.yaml", "n: 5", "n: 5.5"),
    ("conf/sampling/diverse.yaml", "n: 5", "stop: [a, 3]"),
    ("conf/sampling/dynamic.yaml", "min_p: 0.05", "min_p: true"),
    ("conf/sampling/edt.yaml", "theta: 1.0", "teta: 1.0"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: -1"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {value: 0}"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {linear: {from: 1, to: 0, ovr: 8}}"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {linaer: {from: 1, to: 0, over: 8}}"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature:\n  linear:\n    from: 1\n    to: 0\n    over: 0"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {sum: [1, {constant: {vaule: 1}}]}"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {then: {first: 1, next: {clip: {of: x}}, after: 3}}"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: linear"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: clam"),
    ("conf/sampling/greedy.yaml", "temperature: 0", "stop: {linear: {from: 1, to: 0, over: 8}}"),
    ("conf/sampling/inventive.yaml", "xtc_threshold: 0.1", "xtc_threshold: 0.6"),
    ("conf/sampling/inventive.yaml", "min_p: 0.02", "logit_bias: {cat: 1}"),
    ("conf/sampling/inventive.yaml", "min_p: 0.02", "logit_bias: {7: 101}"),
    ("conf/sampling/mirostat.yaml", "temperature: 1.0", "epsilon_cutof: 0.1"),
    ("conf/sampling/plain.yaml", "top_p: 0.9", "top_p: 9"),
    ("conf/sampling/warming.yaml", "max_tokens: 320", "max_tokens: 0"),
    ("conf/store/memory.yaml", "use: store/memory", "use: 3"),
    ("conf/transcriber/whisper.yaml", "path: null", "path: 3"),
    ("pipelines/listen.yaml", "undescribed: error", "undescribed: never"),
    ("pipelines/transcribe.yaml", "{use: describe/speech}", "{use: describe/speech, task: sing}"),
    ("conf/store/sqlite.yaml", "path: outputs/conversations.sqlite", "path: x\nwait_s: -1"),
    ("pipelines/adaptive.yaml", "calm: {temperature: 0.4}", "calm: {temprature: 0.4}"),
    ("pipelines/adaptive.yaml", "seconds: 600", "seconds: 0"),
    ("pipelines/best_of.yaml", "{use: infer/sample}", "{use: infer/sampl}"),
    ("pipelines/best_of.yaml", "    answer: '-?\\d+(?:\\.\\d+)?'", "    answer: 3"),
    ("pipelines/best_of.yaml", "{use: fuse/chat}", "{use: pipeline/stry}"),
    ("pipelines/best_of.yaml", "{use: context/update}", "{use: pipeline/story, system: x}"),
    ("pipelines/complete.yaml", "{use: fuse/plain}", "{use: fuse/plain, system: x}"),
    ("pipelines/judge.yaml", "{use: judge/verdict}", "{use: judge/verdict, system: x}"),
    ("pipelines/dialogue.yaml", "{use: fuse/chat}", "{use: fuse/chat, sytem: x}"),
    ("pipelines/dialogue.yaml", "{use: fuse/chat}", "[fuse/chat]"),
    ("pipelines/dialogue.yaml", "{use: fuse/chat}", "fuse/chat"),
    ("pipelines/dialogue.yaml", "{use: fuse/chat}", "{use: fuse/chat, defaults: []}"),
    ("pipelines/dialogue.yaml", "{use: infer/generate}", "{use: infer/generate, each: 3}"),
    ("pipelines/dialogue.yaml", "{use: infer/generate}", "{use: infer/generate, from: prompt}"),
    ("pipelines/dialogue.yaml", "{use: schedule/sampling}", "{use: schedule/sampling, set: {top_p: 2}}"),
    ("pipelines/dialogue.yaml", "{use: schedule/sampling}", "{use: schedule/sampling, set: {top_p: {linaer: 2}}}"),
    ("pipelines/dialogue.yaml", "output: reply", "  my prompt: {use: fuse/chat}"),
    ("pipelines/dialogue.yaml", "output: reply", "  sampling: {use: schedule/sampling}"),
    ("pipelines/dialogue.yaml", "output: reply", "output: [reply]"),
    ("pipelines/dialogue.yaml", "[/context: full, _self_]", "[/context: ful, _self_]"),
    ("pipelines/dialogue.yaml", "[/context: full, _self_]", "[dialog, _self_]"),
    ("pipelines/dialogue.yaml", "[/context: full, _self_]", "{/context: full}"),
    ("pipelines/dialogue.yaml", "output: reply", "ouptut: reply"),
    ("pipelines/adapt.yaml", "passes: 2", "passes: two"),
    ("pipelines/most_likely.yaml", "{use: select/best}", "{use: select/bset}"),
    ("pipelines/news.yaml", "use: fuse/chat", "use: fuse/chat\n    sytem: x"),
    ("pipelines/review.yaml", "output: reply", "outptu: reply"),
    ("pipelines/tutor.yaml", "- /context: facts", "- /context: fact"),
    ("pipelines/perplexity.yaml", "{use: score/given}", "{use: score/given, prompt: x}"),
    ("pipelines/recommend.yaml", "diversity: 0.0", "diversity: 2"),
    ("pipelines/support.yaml", "overlap: 0", "overlap: none"),
    ("pipelines/weather.yaml", "override /tools: weather", "override /tools: wether"),
    ("pipelines/story.yaml", "- /context: story", "- {/context: story, /store: memory}"),
    ("pipelines/story.yaml", "    use: fuse/chat", "    use: fuse/cat"),
]  # fmt: skip
REFUSED = ("turn", "sampling", "text", "defaults", "searchpath", "env_copy")


def part_of(text: str) -> dict[str, Any]:
    """What the schema named in line 2 says of a file, that schema being the committed one."""
    found = EDITOR_LINE.fullmatch(text.splitlines()[1])
    assert found, text
    return {**COMMITTED, **COMMITTED["$defs"][found["part"]]} if found["part"] else COMMITTED


def errors(part: dict[str, Any], data: Any) -> list[tuple[str, ...]]:
    """The places at fault, each as deep as the schema knows it."""
    return [place for error in Draft202012Validator(part).iter_errors(data) for place in deepest(error, data)]


def deepest(error: Any, data: Any) -> Iterator[tuple[str, ...]]:
    path = tuple(map(str, error.absolute_path))
    inner = [one for one in error.context if len(one.absolute_path) > len(error.absolute_path)]
    if error.validator == "additionalProperties":
        patterns = error.schema.get("patternProperties", {})
        known = error.schema.get("properties", {})
        unknown = [key for key in error.instance if key not in known and not any(re.search(p, key) for p in patterns)]
        yield from ((*path, key) for key in unknown)
    elif error.schema is False:  # of a key that is refused jsonschema tells only the value
        around = reduce(lambda value, key: value[key], error.absolute_path, data)
        yield from ((*path, key) for key in REFUSED if key in around and around[key] is error.instance)
    elif inner:
        for one in inner:
            yield from deepest(one, data)
    else:
        yield path


def lines(file: ConfigFile, places: list[tuple[str, ...]]) -> set[int]:
    """A file as a whole begins at its first key."""
    written = {entry.path: entry.line for entry in file.entries}
    return {written[place] if place else file.entries[0].line for place in places}


def faults(path: str) -> list[Fault]:
    """What `vllm-flow check` says of a configuration that this file is part of."""
    folder, _, name = path.removesuffix(".yaml").rpartition("/")
    group = folder.removeprefix("conf").removeprefix("/").replace("pipelines", "pipeline")
    try:
        Pipeline.build(compose([f"{group}={name}"] if group else []))
    except ConfigError as error:
        return list(error.faults)
    return []


@pytest.mark.parametrize("path", SHIPPED)
def test_a_shipped_file_names_its_schema_and_fits_it(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = EDITOR_LINE.fullmatch(text.splitlines()[1])
    assert found
    assert (ROOT / path).parent.joinpath(found["file"]).resolve() == ROOT / "conf" / "schema.json"
    folder = path.split("/")[-2]
    assert found["part"] == {"conf": None, "pipelines": "pipeline"}.get(folder, folder)
    assert errors(part_of(text), read(Layer("shipped", ROOT), ROOT / path).data) == []


@pytest.mark.parametrize(("path", "right", "wrong"), MUTANTS, ids=[f"{path}: {wrong}" for path, _, wrong in MUTANTS])
def test_a_fault_is_found_in_its_line_as_check_finds_it(path: str, right: str, wrong: str, project: Project) -> None:
    before, found, after = (ROOT / path).read_text(encoding="utf-8").partition(right)
    assert found
    text = before + wrong + after + "# instead of /shipped/config\n"
    line = (before + wrong.rstrip("\n")).count("\n") + 1
    project.write(path, text)
    file = read(Layer("project", project.root), project.root / path)
    assert lines(file, errors(part_of(text), file.data)) == {line}
    told = faults(path)
    assert told
    origins = [found for fault in told if (found := re.search(rf"{re.escape(path)}:(\d+)", str(fault)))]
    assert {int(found[1]) for found in origins} <= {line}


def test_every_shipped_file_has_a_mutant() -> None:
    assert sorted({path for path, _, _ in MUTANTS}) == SHIPPED


@pytest.mark.parametrize("name", sorted(groups()["pipeline"]))
def test_the_composed_configuration_fits_the_whole_schema(name: str, project: Project) -> None:
    content = compose([f"pipeline={name}"]).content()
    assert errors(COMMITTED, {key: value for key, value in content.items() if key not in ("name", "pipelines")}) == []


def test_the_committed_schema_is_that_of_the_shipped_parts(tmp_path: Path) -> None:
    code = "import json; from vllm_flow.config import schema; print(json.dumps(schema()))"
    alone = {key: value for key, value in os.environ.items() if key != "VLLM_FLOW_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=alone, capture_output=True, text=True, check=True
    )
    assert json.dumps(COMMITTED) == done.stdout.strip(), "Refresh it: vllm-flow check --schema > conf/schema.json"


def test_the_schema_is_one_for_old_servers_and_new() -> None:
    from jsonschema import Draft7Validator

    Draft202012Validator.check_schema(COMMITTED)
    Draft7Validator.check_schema(COMMITTED)


@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: ${seed}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: ???"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "stop: ${oc.env:STOP}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {linear: {from: 1, to: '${seed}', over: 8}}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {linear: {to: 0}}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {constant: 0.5}\ntop_k: {piecewise: [[0, 5]]}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {sum: [0.5, {product: [2, {constant: 1}]}]}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {warmup: {to: 1, over: 8, then: null}}"),
        ("conf/sampling/greedy.yaml", "temperature: 0", "temperature: {acme:calm: {rate: 3}}\ntop_p: acme:calm"),
        (
            "pipelines/dialogue.yaml",
            "{use: schedule/sampling}",
            "{use: schedule/sampling, set: {top_p: {constant: 1}}}",
        ),
        ("conf/sampling/greedy.yaml", "temperature: 0", "defaults: [balanced, /shipped/sampling/greedy, _self_]"),
        ("conf/engine/transformers.yaml", "device: auto", "device: ${oc.env:DEVICE}"),
        ("conf/model/qwen.yaml", "revision: null", "defaults:\n  - override /engine@_global_.engine: echo"),
        ("conf/experiment/cold.yaml", "seed: 1", "graph:\n  context: {turns: 3, whatever: [1]}"),
        ("conf/experiment/cold.yaml", "seed: 1", "hydra: {mode: MULTIRUN}"),
        ("pipelines/story.yaml", "- /context: story", "- dialogue\n  - optional /notes: x\n  - /hydra/launcher: basic"),
        ("pipelines/dialogue.yaml", "  prompt:", "  Frage_größer:"),
        ("pipelines/dialogue.yaml", "{use: fuse/chat}", "{use: 'acme-2.x:fuse/chat', whatever: 1}"),
    ],
)
def test_what_may_be_written_is_not_refused(path: str, right: str, wrong: str, project: Project) -> None:
    text = (ROOT / path).read_text(encoding="utf-8").replace(right, wrong)
    project.write(path, text)
    assert errors(part_of(text), read(Layer("project", project.root), project.root / path).data) == []


def test_settings_of_hydra_that_are_refused_are_pointed_out() -> None:
    given = {"hydra": {"searchpath": [], "job": {"chdir": True, "env_copy": []}}}
    assert sorted(errors(COMMITTED, given)) == [("hydra", "job", "env_copy"), ("hydra", "searchpath")]


def test_the_parts_of_a_project_are_in_its_schema(project: Project) -> None:
    project.pipeline("mine", "# My own.\ngraph: {}\n")
    project.write("conf/speech/loud.yaml", "# @package resources.speech\n# Loud.\nuse: speech/loud\n")
    project.write("stages/shout.py", '@stage("edit/shout")\nclass Shout: ...\n')
    made = schema()
    stages = made["$defs"]["Stage"]["properties"]["use"]["anyOf"][0]
    assert dict(zip(stages["enum"], stages["enumDescriptions"], strict=True))["pipeline/mine"] == "My own."
    assert "edit/shout" in stages["enum"]
    assert made["$defs"]["speech"]["allOf"] == [{"$ref": "#/$defs/Resource"}]
    assert errors(made, {"defaults": [{"/speech": "loud"}, {"/speech": "lout"}]}) == [("defaults", "1", "/speech")]


def test_a_wrong_number_is_told_as_such_though_a_schedule_might_stand_there() -> None:
    (error,) = Draft202012Validator(COMMITTED).iter_errors({"sampling": {"temperature": -1}})
    assert (error.validator, error.message) == ("minimum", "-1 is less than the minimum of 0")
    number = COMMITTED["$defs"]["Sampling"]["properties"]["temperature"]
    assert number["patternErrorMessage"] == "It takes a number, a schedule, or ${KEY}, or ???."


def test_every_example_of_a_schedule_fits_and_is_what_check_takes() -> None:
    examples = COMMITTED["$defs"]["Schedule"]["examples"]
    assert {"linear": {"from": 1.0, "to": 0.2, "over": 256}} in examples
    assert [next(iter(one)) for one in examples] == sorted(COMMITTED["$defs"]["Schedule"]["properties"])
    for one in examples:
        assert errors(COMMITTED, {"sampling": {"temperature": one}}) == []
        assert list(Moving.option_problems(one)) == []


def test_a_schedule_of_the_project_may_be_named_alone_or_with_options(project: Project) -> None:
    project.write("stages/feel.py", '@schedule("calm")\nclass Calm:\n    """Calmer."""\n')
    made = schema()
    assert made["$defs"]["Schedule"]["properties"]["calm"] == {"description": "Calmer."}
    assert errors(made, {"sampling": {"temperature": "calm", "top_p": {"calm": {"rate": 3}}}}) == []
    assert errors(made, {"sampling": {"temperature": "clam"}}) == [("sampling", "temperature")]


def test_a_stage_whose_options_cannot_be_read_takes_anything() -> None:
    assert errors(schema(), {"graph": {"a": {"use": "fake/listed", "names": [1], "more": 2}}}) == []


def test_the_line_for_the_editor_is_not_the_one_that_ls_shows(project: Project) -> None:
    editor = "# yaml-language-server: $schema=../schema.json#/$defs/sampling\n"
    project.write("conf/sampling/with.yaml", f"# @package sampling\n{editor}# With it.\ntemperature: 0\n")
    project.write("conf/sampling/without.yaml", "# @package sampling\n# Without it.\ntemperature: 0\n")
    project.write("conf/sampling/silent.yaml", f"# @package sampling\n{editor}temperature: 0\n")
    said = groups()["sampling"]
    assert (said["with"], said["without"], said["silent"]) == ("With it.", "Without it.", "")


@dataclass(frozen=True)
class Inner:
    """What lies inside."""

    deep: int = 1
    """How deep it
    lies."""


@dataclass(frozen=True)
class Outer:
    """The first line. It is shown.

    The rest is not.
    """

    size: Annotated[int, at_least(1)] | None = 3
    mode: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ("x",)
    text: str | None = None
    """What it says."""


def test_an_option_is_described_with_its_default_and_open_to_references() -> None:
    made = described(Outer)
    options = made["properties"]
    assert made["description"] == "The first line. It is shown."
    assert {**options["size"], "patternErrorMessage": ""} == {
        "type": ["integer", "null", "string"], "minimum": 1, "pattern": r"^\?\?\?$|\$\{", "patternErrorMessage": "", "default": 3
    }  # fmt: skip
    assert options["size"]["patternErrorMessage"] == "It takes an integer, null, or ${KEY}, or ???."
    assert options["mode"]["anyOf"][0] == {"enum": ["a", "b"]}
    assert options["inner"]["properties"]["deep"]["description"] == "How deep it lies."
    assert (options["inner"]["description"], options["inner"]["default"]) == ("What lies inside.", {"deep": 1})
    assert (options["names"]["type"], options["names"]["default"]) == (["array", "string"], ["x"])
    assert options["text"] == {"type": ["string", "null"], "description": "What it says."}
