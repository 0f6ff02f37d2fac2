"""What is imported when: `ls` waits for nothing, and composing loads no model library."""

from __future__ import annotations

import subprocess
import sys

from .conftest import Project


def imported(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after running the code."""
    shown = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_listing_choices_imports_no_hydra(project: Project) -> None:
    found = imported("import vllm_flow.config as c; assert c.groups()['pipeline']; c.sample_input('dialogue')")
    assert found & {"hydra", "omegaconf", "yaml", "torch", "jsonschema"} == set()


def test_composing_imports_no_model_library(project: Project) -> None:
    found = imported("import vllm_flow.config as c; c.compose(['pipeline=story'])")
    assert "hydra" in found
    assert found & {"torch", "transformers", "numpy", "PIL", "soundfile"} == set()


def test_checking_a_data_set_imports_no_reader_of_it(project: Project) -> None:
    code = (
        "import vllm_flow.config as c; from vllm_flow.core.pipeline import Pipeline; "
        "Pipeline.build(c.compose(['input.path=rows.csv', 'input.text={q}', 'engine=echo']))"
    )
    assert imported(code) & {"torch", "numpy", "pyarrow"} == set()


def test_the_public_names_are_the_promised_ones() -> None:
    import vllm_flow.config

    assert vllm_flow.config.__all__ == [
        "compose", "composer", "groups", "points_for", "run_jobs", "sample_input", "schema", "search_on",
    ]  # fmt: skip
