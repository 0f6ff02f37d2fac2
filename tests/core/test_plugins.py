"""Plugins: a project's file, a module and an installed package, each real and each in a folder of the test's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core import pipeline, plugins, registry
from vllm_flow.core.errors import ConfigError, listed
from vllm_flow.core.messages import user
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn

SHOUT = """from __future__ import annotations
from dataclasses import dataclass
from vllm_flow.core.registry import stage
from vllm_flow.core.messages import Text
from vllm_flow.core.values import Turn
@stage("own/shout")
@dataclass(frozen=True)
class Shout:
    '''The turn's text in capitals.'''
    mark: str = "!"
    def run(self, turn: Turn) -> Text: return Text(turn.text.upper() + self.mark)
"""
BROKEN = "the plugin 'broken' (broken_stages) cannot be imported: ZeroDivisionError: division by zero"
FORMS = "the name cannot be used. Take one of the form `role/manner` or `package:role/manner`, where no role is called pipeline"


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    plugins.load_built_in()
    built_in = {entry.name: entry for entry in registry.stage if entry.cls.__module__.startswith("vllm_flow.")}
    monkeypatch.setattr(registry.stage, "_entries", built_in)  # other tests have registered theirs in this process
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name, one in sys.modules.items() if str(tmp_path) in str(getattr(one, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, as pip leaves them: `acme` works, `broken` does not, `alien` is none of ours."""
    folder = tmp_path / "site"
    for package, code, entry, group in (
        ("acme", SHOUT.replace("own/", "acme:own/"), "acme_stages:Shout", plugins.GROUP),
        ("broken", "1 / 0\n", "broken_stages", plugins.GROUP),
        ("alien", SHOUT, "alien_stages", "other.plugins"),
    ):
        write(folder / f"{package}_stages.py", code)
        write(folder / f"{package}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        write(folder / f"{package}-1.0.dist-info/entry_points.txt", f"[{group}]\n{package} = {entry}\n")
    monkeypatch.syspath_prepend(folder)
    return folder


def write(path: Path, text: str = SHOUT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def said(use: str = "own/shout", **own: Any) -> str:
    node = pipeline.Pipeline.build(RunSpec("test", {"text": {"use": use, "mark": "?"}}, "text", **own)).graph.nodes[0]
    return str(node.stage.run(Turn("a", user("hi"))).text)


def faults(use: str = "own/shout", **own: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        said(use, **own)
    return [str(fault) for fault in caught.value.faults]


def own_classes() -> list[type]:
    return [entry.cls for entry in registry.stage if entry.cls.__name__ == "Shout"]


def test_a_file_is_executed_once_under_whatever_labels_and_paths_it_is_named(tmp_path: Path) -> None:
    file, near, far = write(tmp_path / "stages/mine.py"), "stages/mine.py", "./stages/../stages/mine.py"
    assert said(plugins={"a": near}) == "HI?"
    (once,) = own_classes()
    assert said(plugins={"a": far, "b": near, "c": str(file)}) == "HI?"
    assert own_classes() == [once]


def test_a_file_that_somebody_has_imported_is_not_executed_again(site: Path) -> None:
    module = importlib.import_module("alien_stages")
    assert said(plugins={"file": "site/alien_stages.py", "module": "alien_stages"}) == "HI?"
    assert own_classes() == [module.Shout]


def test_files_of_one_name_in_two_folders_are_two_and_each_imports_its_neighbour(tmp_path: Path) -> None:
    code = SHOUT.replace("from dataclasses", "from .words import MARK\nfrom dataclasses").replace('"!"', "MARK")
    for name in ("left", "right"):
        write(tmp_path / name / "mine.py", code.replace("own/", f"{name}/"))
        write(tmp_path / name / "words.py", f"MARK = '{name}'")
        assert list(plugins.load(RunSpec("test", {}, "", plugins={"mine": "mine.py"}), tmp_path / name)) == []
    assert [cls().mark for cls in own_classes()] == ["left", "right"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("\nraise ValueError('one.\\n  two.')", "ValueError: one. two (line 2)"),
        ("raise SystemExit(3)", "SystemExit: 3 (line 1)"),
        ("x = (", "SyntaxError: '(' was never closed (mine.py, line 1)"),
        (SHOUT.replace("own/", ""), f"stage 'shout' ({{here}}/mine.py: Shout): {FORMS}"),
    ],
)
def test_what_cannot_be_imported_is_one_fault_until_it_is_mended(tmp_path: Path, code: str, why: str) -> None:
    write(tmp_path / "mine.py", code)
    mine, none = why.format(here=tmp_path), "ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert faults(plugins={"mine": "mine.py", "other": "nowhere_at_all"}) == [
        f"plugins.mine: 'mine.py' cannot be imported: {mine}. Mend it, or do without it.",
        f"plugins.other: 'nowhere_at_all' cannot be imported: {none}. Mend it, or do without it.",
    ]
    write(tmp_path / "mine.py")
    assert said(plugins={"mine": "mine.py"}) == "HI?"


def test_an_installed_package_is_imported_only_when_a_use_names_it(site: Path) -> None:
    write(site.parent / "mine.py")
    assert said(plugins={"mine": "mine.py"}) == "HI?"
    assert {"acme_stages", "broken_stages", "alien_stages"}.isdisjoint(sys.modules)
    assert said("acme:own/shout") == "HI?"
    assert {"broken_stages", "alien_stages"}.isdisjoint(sys.modules)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("broken:a/b", f"{BROKEN}. Mend or reinstall it."),
        ("acne:a/b", "no installed package offers the plugin 'acne'. Did you mean 'acme'? Installed: acme, broken."),
        ("alien:a/b", "no installed package offers the plugin 'alien'. Installed: acme, broken."),
        ("acme:own/shuot", "there is no stage 'acme:own/shuot'. Did you mean 'acme:own/shout'? There are: {stages}."),
    ],
)
def test_a_package_that_cannot_give_the_stage_is_one_fault_with_its_cause(site: Path, use: str, words: str) -> None:
    found = faults(use)
    assert found == [f"graph.text.use: {words.format(stages=listed(one.name for one in registry.stage))}"]


def test_a_use_in_any_table_names_a_package_and_each_package_is_said_once() -> None:
    graph, resources, inputs, inner = ({"x": {"use": f"p{n}:a/b"}, "y": {"use": f"p{n}:c/d"}} for n in range(4))
    run = RunSpec("test", graph, "", resources=resources, input=inputs["x"], pipelines={"p": {"graph": inner}})
    found = [f"{package}: {'.'.join(path)}" for path, package, _ in plugins.load(run)]
    assert found == ["p2: input.use", "p1: resources.x.use", "p0: graph.x.use", "p3: pipelines.p.graph.x.use"]
