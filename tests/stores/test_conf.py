"""The shipped configuration files of stores and inputs fit the classes they name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import vllm_flow.inputs
import vllm_flow.stores  # noqa: F401  # registers
from vllm_flow.core.option_checks import problems
from vllm_flow.core.registry import resource, source

CONF = Path(__file__).parents[2] / "conf"
FILES = {
    "store/memory": "resources.store",
    "store/sqlite": "resources.store",
    "input/text": "input",
    "input/stdin": "input",
    "input/file": "input",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_its_package_says_what_it_is_and_fits(name):
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    first, second, *_ = text.splitlines()
    assert first == f"# @package {FILES[name]}"
    assert second.startswith("# ")
    options = yaml.safe_load(text)
    use = options.pop("use")
    entry = resource.find(use) or source.find(use)
    assert entry is not None
    assert problems(entry.cls, options) == []


def test_the_sample_stands_for_the_rows_beside_a_pipeline():
    assert yaml.safe_load((CONF / "input/sample.yaml").read_text(encoding="utf-8")) == {"use": "input/sample"}
