"""Files at the gate: told by content, read only in declared places; damaged ones of every kind are read or refused."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest

from tests.media.making import mutated, samples_of_all_formats
from vllm_flow.core.media import Audio, Image
from vllm_flow.media import Files, Limits, MediaError, medium_from, read_medium
from vllm_flow.testing.media import picture, sound

ONE_LINE = re.compile(r"f: [^\n]+\. [^\n]+\.")
LONGEST_S = 20.0


def test_the_gate_is_imported_without_its_decoders() -> None:
    heavy = "{'PIL', 'numpy', 'soundfile', 'soxr', 'torch'}"
    script = f"import sys, vllm_flow.media, vllm_flow.testing.media; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_which_of_both_it_is_is_told_by_its_content() -> None:
    kinds = {name: type(medium_from(data, "x")) for name, data in samples_of_all_formats().items()}
    assert {name for name, kind in kinds.items() if kind is Image} == {
        name for name in kinds if re.search("png|jpeg|webp", name)
    }
    with pytest.raises(MediaError) as told:
        medium_from("\ufeffNotes".encode("utf-16"), "notes.mp3")
    assert str(told.value) == (
        "notes.mp3: it is neither an image (PNG, JPEG, WEBP) nor a sound (WAV, FLAC, OGG, MP3). "
        "Convert it to one of these."
    )


def test_what_somebody_holds_is_not_decoded_again(tmp_path: Path) -> None:
    (tmp_path / "shop.png").write_bytes(data := picture(8, 8))
    first = medium_from(data, "shop.png")
    assert medium_from(data, "shop.png") is first
    assert Files().open().read("shop.png", tmp_path) is first
    assert medium_from(data, "bell.png").source == "bell.png"
    (tmp_path / "shop.png").write_bytes(picture(8, 9))
    assert read_medium(tmp_path / "shop.png", [tmp_path]) != first
    with pytest.raises(MediaError, match="at most 63 are read"):
        medium_from(data, "shop.png", Limits(max_pixels=63))
    known = weakref.ref(first)
    del first
    assert known() is None, "nothing is held for its own sake"


def test_a_file_is_read_in_the_working_directory_and_in_declared_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.chdir(here)
    (here / "shop.dat").write_bytes(picture())
    (there / "bell.wav").write_bytes(sound())
    (here / "link.wav").symlink_to(there / "bell.wav")
    image = read_medium("shop.dat")
    assert isinstance(image, Image)
    assert image.source == "shop.dat"
    assert isinstance(read_medium("../there/bell.wav", [there]), Audio)
    assert read_medium(Path("link.wav"), [there]) == read_medium(there / "bell.wav", [there])
    for name in ("../there/bell.wav", "link.wav"):
        with pytest.raises(MediaError) as told:
            read_medium(name)
        assert str(told.value) == (
            f"{name}: it lies outside of the working directory. Move it here, or name the folder it is in under roots."
        )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes on Windows")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.wav")
    Path("folder").mkdir()
    for name in ("pipe.wav", "folder"):
        with pytest.raises(MediaError) as told:
            read_medium(name)
        assert str(told.value) == f"{name}: it is no file. Name a file."
    with pytest.raises(MediaError) as told:
        read_medium("pip.wav")
    assert str(told.value) == "pip.wav: there is no such place. Did you mean 'pipe.wav'? There: folder, pipe.wav."


@pytest.mark.parametrize("folder", [None, Path("folder")])
def test_what_can_be_no_place_is_told_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path | None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(MediaError) as told:
        Files().open().read("~nobody-of-that-name/cat.png", folder)
    problem = "there can be no such place (Could not determine home directory). Write another path."
    assert str(told.value) == f"'~nobody-of-that-name/cat.png': {problem}"
    with pytest.raises(MediaError) as told:
        Files().open().read("x" * 300, folder)
    problem = "it cannot be looked at (File name too long). Name a place that can be read."
    assert str(told.value) == f"{Path(folder or '') / ('x' * 300)}: {problem}"


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(MediaError) as told:
        read_medium(path, [tmp_path], Limits(max_bytes=1_000))
    what = "it has 1,000,000,000,000 bytes, and at most 1,000 are read"
    assert str(told.value) == f"{path}: {what}. Make it smaller, or raise max_bytes."


def through(names: list[str], seeds: range) -> tuple[int, int]:
    """How many damaged files were read, and how many refused, each in one line and in good time."""
    files, read = samples_of_all_formats(), 0
    for seed in seeds:
        chance = random.Random(seed)
        name = chance.choice(names)
        start = time.monotonic()
        problem = ""
        try:
            read += bool(medium_from(mutated(files[name], chance), "f").data)
        except MediaError as error:
            problem = str(error)
        assert not problem or ONE_LINE.fullmatch(problem), (seed, name, problem)
        assert time.monotonic() - start < LONGEST_S, (seed, name)
    return read, len(seeds) - read


IN_THIS_PROCESS = [name for name in samples_of_all_formats() if name != "mp3"]


@pytest.mark.parametrize(
    ("names", "seeds"),
    [
        pytest.param(IN_THIS_PROCESS, range(600), id="some"),
        pytest.param(["mp3"], range(6), id="some mp3"),
        pytest.param(IN_THIS_PROCESS, range(1_000, 10_400), marks=pytest.mark.full, id="9,400"),
        pytest.param(["mp3"], range(1_000, 1_600), marks=[pytest.mark.full, pytest.mark.timeout(900)], id="600 mp3"),
    ],
)
def test_damaged_files_are_read_or_refused_and_nothing_else_happens(
    names: list[str], seeds: range, capfd: pytest.CaptureFixture[str]
) -> None:
    """A warning would be an error here, and a crash the end of this process."""
    read, refused = through(names, seeds)
    assert read > 0 < refused
    assert capfd.readouterr() == ("", "")
