"""Composition: Hydra's loader with our eyes on it.

Hydra forgets which file wrote a value. The loader here keeps the list of files that Hydra merged, in order, and the
command line as Hydra understood it; everything that messages say about places is derived from these two.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.default_element import ResultDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vllm_flow.config.clashes import clashes
from vllm_flow.config.files_read import FilesRead
from vllm_flow.config.folders import run_folder
from vllm_flow.config.groups import Group, place_of, read_groups
from vllm_flow.config.layers import PRIMARY, SHIPPED, beside, is_late
from vllm_flow.config.messages import composition_faults, default_origin
from vllm_flow.config.newest import keep_newest_schedules
from vllm_flow.config.origins import Written, written
from vllm_flow.config.overrides import rewrite
from vllm_flow.config.project import unread
from vllm_flow.config.sources import FileResult, add_layers
from vllm_flow.config.written import COMMAND_LINE, Keys, Value, of_file, of_overrides
from vllm_flow.core.errors import ConfigError

HYDRA_BASE = "1.3"


@dataclass(frozen=True)
class Composition:
    """One composed configuration and where it came from."""

    config: DictConfig
    written: Written
    choices: dict[str, Any]
    mode: RunMode | None
    """Whether the files ask for one run or for many."""
    folder: Path = Path()
    """That of a single run; of many, each has its own."""


@dataclass(frozen=True)
class _Base:
    """A composition before values were changed in it."""

    config: DictConfig
    values: tuple[Value, ...]
    read: FilesRead


class FlowLoader(ConfigLoaderImpl):
    """Raises ConfigError for whatever is wrong, and remembers the origins of everything it composed."""

    def __init__(self) -> None:
        search_path = create_config_search_path(None)
        add_layers(search_path)
        super().__init__(search_path)
        self.groups: dict[str, Group] = read_groups()
        self._written: dict[tuple[str, ...], Written] = {}
        self._pipelines: dict[str, Composition] = {}
        self._read = FilesRead()
        self._lines: list[str] = []
        self._parsed: list[Override] = []
        self._values: list[Value] = []
        self._bases: dict[tuple[str, ...], _Base] = {}
        self.shares = False
        """Whether what is composed next may have much in common with what came before: the points of a sweep."""

    def compose(self, overrides: Sequence[str], mode: RunMode = RunMode.RUN, *, sweeps: bool = False) -> Composition:
        """The configuration for these overrides; with `sweeps`, values that are to be swept are left out."""
        config = self.load_configuration(PRIMARY, list(overrides), mode, validate_sweep_overrides=not sweeps)
        HydraConfig.instance().set_config(config)
        own = config.hydra
        folder = Path() if sweeps else run_folder(config)  # while what it refers to is there
        with open_dict(config):
            del config["hydra"]
        return replace(self.composed(config, own), folder=folder)

    def pipeline(self, name: str) -> Composition:
        """A pipeline with its own choices, composed once however many jobs use it."""
        if name not in self._pipelines:
            job = HydraConfig.instance().cfg
            self._pipelines[name] = self.compose([f"pipeline={name}"])
            HydraConfig.instance().cfg = job
        return self._pipelines[name]

    def composed(self, config: DictConfig, own: DictConfig) -> Composition:
        """What this loader knows of a configuration that it composed; `own` is what it had under `hydra`."""
        return Composition(config, self._written[typed(own)], dict(own.runtime.choices), own.mode)

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        self._read, self._parsed, self._values = FilesRead(), [], []
        try:
            config = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        except (HydraException, OmegaConfBaseException, ValueError, AssertionError, RecursionError) as error:
            self._read.check(self.groups)
            raise ConfigError(composition_faults(error, self._lines, self.groups, self._read.by_name)) from error
        self._read.check(self.groups)
        keep_newest_schedules(config, self._values)
        self._written[typed(config.hydra)] = written(self._values, self._choices(config.hydra.runtime.choices))
        return config

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.shares = True
        return super().load_sweep_config(master_config, sweep_overrides)

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        # Hydra chooses files first and changes values last. So points that differ in values only share a base, and
        # need not have their files merged again, which takes most of the time.
        whole = super()._load_configuration_impl
        if not self.shares:
            return whole(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        self._lines = lines = rewrite(overrides, self.groups, typed=False)
        parsed = OverridesParser.create().parse_overrides(lines)
        known = self.repository.group_exists
        values = [one for one in parsed if not one.is_hydra_override() and not known(one.key_or_group)]
        if run_mode != RunMode.RUN or not all(one.is_force_add() and not one.is_sweep_override() for one in values):
            return whole(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        rest = tuple(str(one.input_line) for one in parsed if one not in values)
        if rest not in self._bases:
            self._values = []
            base = whole(config_name, list(rest), run_mode, from_shell, validate_sweep_overrides)
            self._bases[rest] = _Base(base, tuple(self._values), self._read)
        self._lines, self._parsed = lines, parsed
        return self._varied(self._bases[rest], values)

    def _varied(self, base: _Base, values: Sequence[Override]) -> DictConfig:
        """The base with these values."""
        self._read, self._values = base.read, [*base.values, *of_overrides(values)]
        if faults := clashes(self._values):
            raise ConfigError(faults)
        config = deepcopy(base.config)
        self._apply_overrides_to_config(list(values), config)
        said = [one for one in self._parsed if not one.is_hydra_override()]
        config.hydra.overrides.task = [one.input_line for one in said]
        how = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            said, kv_sep=how.kv_sep, item_sep=how.item_sep, exclude_keys=how.exclude_keys
        )
        return config

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        # Whoever asks comes through here: a sweeper, whose overrides may stand in a file, among them.
        self._lines = rewrite(overrides, self.groups, typed=False)
        self._parsed, repo = super()._parse_overrides_and_create_caching_repo(config_name, self._lines)
        self._read = FilesRead(repo)
        return self._parsed, repo

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        self._read.check(self.groups)
        defaults = sorted(defaults, key=lambda default: is_late(default.config_path or ""))
        for default in defaults:
            result = repo.load_config(str(default.config_path))
            if isinstance(result, FileResult):
                self._values += of_file(result.file, place_of(default.package), own=result.provider != SHIPPED)
        chosen = [override for override in self._parsed if not repo.group_exists(override.key_or_group)]
        self._values += of_overrides(one for one in chosen if not one.is_hydra_override())
        if faults := clashes(self._values):
            raise ConfigError(faults)
        return super()._compose_config_from_defaults_list(defaults, repo)

    def _choices(self, chosen: Mapping[str, Any]) -> dict[Keys, str]:
        """Where the user said what to choose: the place of each such group, and the line. The command line wins.

        Nothing, such as with reader=null, is no choice.
        """
        said, own = {override.key_or_group for override in self._parsed}, self._read.own
        found: dict[Keys, str] = {}
        for name, group in self.groups.items():
            origin = COMMAND_LINE if name in said else default_origin(own, name, str(chosen.get(name)))
            if group.place and origin and chosen.get(name) is not None:
                found[group.place] = origin
        return found


def typed(own: DictConfig) -> tuple[str, ...]:
    """The overrides of a composition, given what it has under `hydra`. As typed: `${…}` in them is not looked up."""
    return tuple(map(str, own.overrides.task._iter_ex(resolve=False)))


@contextmanager
def composing() -> Iterator[FlowLoader]:
    """A loader for the layers as they are now. Other Hydra programs in the process find their state unchanged.

    Raises ConfigError when a file that was meant for us would not be read.
    """
    if faults := list(unread()):
        raise ConfigError(faults)
    from vllm_flow.config.sweeper import install  # it knows this module

    install()
    base, instance = version.getbase(), HydraConfig.instance()
    surrounding = instance.cfg
    version.setbase(HYDRA_BASE)
    setup_globals()
    OmegaConf.register_new_resolver("secret", lambda name: f"${{secret:{name}}}", replace=True)
    OmegaConf.register_new_resolver("beside", beside, replace=True)
    OmegaConf.register_new_resolver("run_id", lambda: secrets.token_hex(2), use_cache=True, replace=True)
    try:
        yield FlowLoader()
    finally:
        version.VersionBase.instance().version_base = base
        instance.cfg = surrounding
