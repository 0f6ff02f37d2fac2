"""Readers of what is written in pictures, as far as they are installed here; and what is said where they are not."""

from __future__ import annotations

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.bench.describers import cases, errors_in
from tests.pictures import drawn, forgotten
from vllm_flow.cli import main
from vllm_flow.core.describing import Line, NotDescribed, PageReader
from vllm_flow.core.errors import ModelError
from vllm_flow.core.media import Image
from vllm_flow.describers import Rapid, Tesseract, readers

HAS_RAPID = find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None
HAS_TESSERACT = find_spec("pytesseract") is not None and shutil.which("tesseract") is not None
INSTALLED = [
    pytest.param(Rapid(), marks=pytest.mark.skipif(not HAS_RAPID, reason="rapidocr is not installed")),
    pytest.param(Tesseract(), marks=pytest.mark.skipif(not HAS_TESSERACT, reason="tesseract is not installed")),
]


def read(reader: PageReader, image: Image) -> tuple[Line, ...]:
    return asyncio.run(reader.read(image))


@pytest.mark.parametrize("options", INSTALLED)
def test_drawn_lines_are_read_with_their_places(options: Rapid | Tesseract) -> None:
    reader = options.open()
    lines = read(reader, drawn(text="Opening hours\nTickets here", size=(360, 140)))
    assert [one.text for one in lines] == ["Opening hours", "Tickets here"]
    assert all(one.confidence > 0.5 for one in lines)
    upper, lower = (one.box for one in lines)
    assert upper[0] < 40
    assert upper[3] <= lower[1] + 12
    assert read(reader, drawn("white")) == ()
    with pytest.raises(NotDescribed, match="its content is not here any more"):
        read(reader, forgotten(drawn("red")))
    assert {"rapidocr", "tesseract"} & set(reader.describe())
    reader.close()


@pytest.mark.full
@pytest.mark.parametrize("options", INSTALLED)
def test_of_drawn_text_in_many_sizes_fonts_and_noises_few_characters_are_wrong(options: Rapid | Tesseract) -> None:
    reader = options.open()
    wrong, there, _ = map(sum, zip(*(errors_in(reader, case) for case in cases(each=1)), strict=True))
    reader.close()
    assert wrong / there < (0.02 if isinstance(options, Rapid) else 0.06)


@pytest.mark.skipif(not HAS_TESSERACT, reason="tesseract is not installed")
def test_a_language_without_data_is_said_when_it_opens() -> None:
    with pytest.raises(
        ModelError, match=r"^reader\.language: tesseract knows no 'xyz'\. Install its data, such as with "
    ) as failure:
        Tesseract(language="eng+xyz").open()
    assert str(failure.value).endswith(".")


def test_what_is_not_installed_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    monkeypatch.setattr(readers.shutil, "which", lambda name: None)
    install = "Install it: pip install 'vllm-flow[ocr]'."
    assert list(Rapid().problems()) == [
        f"the package rapidocr is not installed. {install}",
        f"the package onnxruntime is not installed. {install}",
    ]
    assert list(Tesseract().problems()) == [
        f"the package pytesseract is not installed. {install}",
        "the program tesseract is not installed. Install it, such as with apt-get install tesseract-ocr, or take reader=rapidocr.",
    ]


@pytest.mark.parametrize("language", ["", "eng+", "eng;rm", "../eng"])
def test_a_language_that_is_none_is_refused(language: str) -> None:
    found = [one for one in Tesseract(language=language).problems() if not isinstance(one, str)]
    assert [(one.path, one.problem) for one in found] == [
        (("language",), f"'{language}' names no language. Write one as tesseract does, such as eng or eng+deu.")
    ]


def test_check_says_what_to_install_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    assert main(["check", "reader=rapidocr", "+graph.read.use=describe/ocr", "+graph.described.use=fuse/describe"]) == 2
    error = capsys.readouterr().err
    assert "resources.reader" in error
    assert "the package rapidocr is not installed. Install it: pip install 'vllm-flow[ocr]'." in error
    assert "Traceback" not in error
