"""The files that Hydra read for one composition, as our own files, which know their lines and their faults.

Hydra keeps what it read in the cache of its repository, and nowhere else says which files a configuration came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hydra._internal.config_repository import CachingConfigRepository

from vllm_flow.config.files import ConfigFile
from vllm_flow.config.groups import Group
from vllm_flow.config.layers import SHIPPED
from vllm_flow.config.packages import placement_faults
from vllm_flow.config.sources import FileResult
from vllm_flow.core.errors import ConfigError


@dataclass(frozen=True)
class FilesRead:
    """Those in a repository; without one, none."""

    repo: CachingConfigRepository | None = None

    @property
    def by_name(self) -> dict[str, ConfigFile]:
        """By the name that Hydra has for each."""
        return {name: result.file for name, result in self._results().items()}

    @property
    def own(self) -> list[ConfigFile]:
        """The user's: those that were not shipped."""
        return [one.file for one in self._results().values() if one.provider != SHIPPED]

    def check(self, groups: Mapping[str, Group]) -> None:
        """Raises ConfigError with everything that is wrong with them."""
        files = self.by_name
        faults = [fault for file in files.values() for fault in file.faults]
        sound = {name: file for name, file in files.items() if not file.faults}
        faults += [fault for name, file in sound.items() for fault in placement_faults(name, file, groups)]
        if faults:
            raise ConfigError(faults)

    def _results(self) -> dict[str, FileResult]:
        cache = self.repo.cache if self.repo is not None else {}
        found = {key.partition("=")[2]: result for key, result in cache.items()}
        return {name: result for name, result in found.items() if isinstance(result, FileResult)}
