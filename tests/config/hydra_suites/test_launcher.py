"""Hydra's own suites for launchers, over `fused`, and over `flow`, the sweeper that calls it.

The programs in them are no pipelines, so the launcher takes their jobs one by one. What it does with ours, all at once,
has tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite

FLOW = "hydra/sweeper=flow"
REGISTERING = (
    "from vllm_flow.config.sweeper import install; install();"
    "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.mark.usefixtures("registered")
@pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change")  # the suite's programs do
@pytest.mark.parametrize("launcher_name", ["fused"])
class TestFused:
    """With Hydra's sweeper and with ours."""

    @pytest.mark.parametrize("overrides", [[]])
    class TestFromHydrasSweeper(LauncherTestSuite):
        pass

    @pytest.mark.parametrize("overrides", [[FLOW]])
    class TestFromOurs(LauncherTestSuite):
        pass

    @pytest.mark.parametrize("overrides", [[FLOW, "hydra.sweeper.max_batch_size=2"]])
    class TestInBatches(BatchedSweeperTestSuite):
        pass


class _InProcesses(IntegrationTestSuite):
    def generate_custom_cmd(self) -> Callable[..., list[str]]:
        """The suite's programs know nothing of us: what starts them registers us first."""

        def command(words: list[str], filename: str) -> list[str]:
            python, *rest = words
            return [python, "-c", REGISTERING, *rest]

        return command


@pytest.mark.full
@pytest.mark.parametrize("task_launcher_cfg", [{}])
@pytest.mark.parametrize(
    "extra_flags", [["-m", "hydra/launcher=fused"], ["-m", "hydra/launcher=fused", FLOW]], ids=["fused", "flow"]
)
class TestPrograms(_InProcesses):
    """Eleven programs, each a process of its own, with Hydra's sweeper and with ours."""


@pytest.mark.parametrize("task_launcher_cfg", [{}])
@pytest.mark.parametrize("extra_flags", [["-m", "hydra/launcher=fused", FLOW]])
def test_one_of_hydras_programs_runs_in_the_folder_it_asks_for(
    task_launcher_cfg: dict[str, object], extra_flags: list[str], tmpdir: object
) -> None:
    _InProcesses().test_to_absolute_path_multirun(tmpdir, task_launcher_cfg, extra_flags)  # type: ignore[arg-type]
