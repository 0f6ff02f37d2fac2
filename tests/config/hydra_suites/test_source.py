"""Hydra's own suite for sources of configuration, over ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.plugins.config_source import ConfigSource
from hydra.test_utils.config_source_common_tests import ConfigSourceTestSuite

from vllm_flow.config.sources import SCHEME, LayerSource

DEFAULTS = "defaults:\n  - foo: bar\nx: 10\n"
FILES = {
    "config_without_group": "group: false\n",
    "config_with_unicode": "group: 数据库\n",
    "config_with_defaults_list": "defaults:\n  - dataset: imagenet\nkey: value\n",
    "configs_with_defaults_list/global_package": f"# @package _global_\n{DEFAULTS}",
    "configs_with_defaults_list/group_package": f"# @package _group_\n{DEFAULTS}",
    "dataset": "dataset_yaml: true\n",
    "dataset/cifar10": "name: cifar10\npath: /datasets/cifar10\n",
    "dataset/imagenet": "name: imagenet\npath: /datasets/imagenet\n",
    "level1/level2/nested1": "l1_l2_n1: true\n",
    "level1/level2/nested2": "l1_l2_n2: true\n",
    "optimizer/adam": "type: adam\n",
    "optimizer/nesterov": "type: nesterov\n",
    "package_test/none": "foo: bar\n",
    "primary_config": "primary: true\n",
    "primary_config_with_non_global_package": "# @package foo\nprimary: true\n",
}
PACKAGES = {
    "explicit": "a.b",
    "global": "_global_",
    "group": "_group_",
    "group_name": "foo._group_._name_",
    "name": "_name_",
}


@pytest.mark.parametrize("type_", [LayerSource])
class TestLayerSource(ConfigSourceTestSuite):
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        packaged = {f"package_test/{name}": f"# @package {value}\nfoo: bar\n" for name, value in PACKAGES.items()}
        for name, text in (FILES | packaged).items():
            file = tmp_path / "conf" / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return f"{SCHEME}://{tmp_path}"

    def test_the_source_says_where_it_is_as_hydra_writes_it(self, type_: type[ConfigSource], path: str) -> None:
        assert type_(provider="foo", path=path).full_path() == path
