"""Digests of weights: of every byte, and read once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vllm_flow.models.digest import digests, file_digest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "digests"


def model(folder: Path) -> Path:
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "README.md"):
        (folder / name).write_text(f"the {name}", encoding="utf-8")
    return folder


def test_equal_folders_have_equal_digests_and_each_byte_counts_where_it_belongs(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one"), model(tmp_path / "other")
    assert digests(one) == digests(other)
    before = digests(other)
    (other / "README.md").write_text("more", encoding="utf-8")
    assert digests(other) == before
    (other / "tokenizer.json").write_text("the tokenizer.jsom", encoding="utf-8")
    after = digests(other)
    assert after["weights_sha256"] == before["weights_sha256"]
    assert after["tokenizer_sha256"] != before["tokenizer_sha256"]
    (other / "model.safetensors").rename(other / "another.safetensors")
    assert digests(other)["weights_sha256"] != before["weights_sha256"]


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"first")
    assert file_digest(file) == hashlib.sha256(b"first").hexdigest()
    (kept,) = cache.iterdir()
    kept.write_text(kept.read_text().replace(hashlib.sha256(b"first").hexdigest(), "remembered"), encoding="ascii")
    assert file_digest(file) == "remembered"
    file.write_bytes(b"other")
    os.utime(file, ns=(1, 1))
    assert file_digest(file) == hashlib.sha256(b"other").hexdigest()


def test_what_is_kept_and_cannot_be_read_costs_nothing_but_time(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"x")
    file_digest(file)
    (kept,) = cache.iterdir()
    kept.write_text("{", encoding="ascii")
    assert file_digest(file) == hashlib.sha256(b"x").hexdigest()


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path / "file"))
    (tmp_path / "big").write_bytes(b"x")
    assert file_digest(tmp_path / "big") == hashlib.sha256(b"x").hexdigest()


def test_what_cannot_take_its_place_is_not_left_beside_it(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "big").write_bytes(b"x")
    file_digest(tmp_path / "big")
    (kept,) = cache.iterdir()
    kept.unlink()
    (kept / "in the way").mkdir(parents=True)
    assert file_digest(tmp_path / "big") == hashlib.sha256(b"x").hexdigest()
    assert list(cache.iterdir()) == [kept]
