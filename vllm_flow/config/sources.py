"""Sources: how Hydra reads our layers, each as one `flow://` entry of its search path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from vllm_flow.config.files import ConfigFile, read
from vllm_flow.config.layers import TOP_FOLDERS, Layer, layers

SCHEME = "flow"


@dataclass
class FileResult(ConfigResult):
    """Hydra's result, with the file it came from."""

    file: ConfigFile = field(default_factory=lambda: ConfigFile(""))


class LayerSource(ConfigSource):
    """One layer. A file that may not be read gives an empty mapping here; its faults end the composition."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    @property
    def layer(self) -> Layer:
        return Layer(self.provider, Path(self.path))

    def load_config(self, config_path: str) -> ConfigResult:
        path = self.layer.file(config_path)
        if path is None:
            raise ConfigLoadError(f"{config_path} is not in {self.path}")
        file = read(self.layer, path)
        return FileResult(
            provider=self.provider,
            path=f"{SCHEME}://{self.path}",
            config=OmegaConf.create(file.data if not file.faults else {}),
            header={"package": file.package},
            file=file,
        )

    def available(self) -> bool:
        return self.layer.root.is_dir()

    def is_group(self, config_path: str) -> bool:
        folder = self.layer.folder(config_path)
        return folder is not None and folder.is_dir()

    def is_config(self, config_path: str) -> bool:
        return self.layer.file(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        found: list[str] = []
        for name in self._names(config_path):
            at = f"{config_path}/{name}" if config_path else name
            self._list_add_result(found, at, name, results_filter)
        return sorted(set(found))

    def _names(self, config_path: str) -> Iterator[str]:
        folder = self.layer.folder(config_path)
        if folder is not None and folder.is_dir():
            yield from (path.name for path in folder.iterdir() if path.is_dir() or path.suffix == ".yaml")
        if not config_path.strip("/"):
            yield from (group for group, at in TOP_FOLDERS.items() if (self.layer.root / at).is_dir())


def add_layers(search_path: ConfigSearchPath) -> None:
    """Put the layers on a search path of ours; search paths of other programs never see them."""
    Plugins.instance().register(LayerSource)
    for layer in layers():
        before = SearchPathQuery(provider="schema", path=None)
        search_path.prepend(layer.name, f"{SCHEME}://{layer.root.as_posix()}", before)
