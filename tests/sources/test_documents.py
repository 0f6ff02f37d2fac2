"""Documents from files and folders: what they say, where it stands, and what is refused before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.sources.pdf import write_pdf
from vllm_flow.core.errors import ConfigError, SourceError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.segments import Item, Segment, Share
from vllm_flow.core.spec import RunSpec
from vllm_flow.sources import Files, Folder, documents


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def write(**files: str) -> None:
    for name, content in files.items():
        path = Path(name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def problems(entry: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as told:
        Pipeline.build(RunSpec("x", {"found": entry}, "found"))
    return str(told.value).splitlines()


def refused(stage: Files | Folder) -> str:
    with pytest.raises(SourceError) as told:
        stage.run()
    return str(told.value)


def test_files_come_whole_and_in_the_order_given_each_with_its_name() -> None:
    write(b_md="# B\n\nSecond.\n", notes__a_txt="\ufeffFirst,\r\nand more.\n")
    found = Files(("notes/a.txt", "b.md"), share=Share(most=100, overflow="cut")).run()
    items = (Item("First,\nand more.", "notes/a.txt"), Item("# B\n\nSecond.", "b.md"))
    assert found == Segment("documents", items, "Documents:", "first", Share(most=100, overflow="cut"))


def test_a_file_that_changes_is_read_anew_in_the_next_turn() -> None:
    write(a_md="before")
    stage = Files(("a.md",))
    assert stage.run().items[0].text == "before"
    write(a_md="afterwards")
    assert stage.run().items[0].text == "afterwards"


def test_a_folder_is_cut_into_passages_with_file_and_line() -> None:
    write(docs__b_md="# B\n\n" + "One two three. " * 8 + "\n\nThe end.", docs__deep__a_txt="Deep.", docs__x_csv="1,2")
    write(docs___hidden_md="no", docs___git__a_md="no")
    library = Folder("docs", passage=100, overlap=0).run()
    assert [(one.source, one.text) for one in library.passages] == [
        ("b.md:1", "# B\n\n" + " ".join(["One two three."] * 6)),
        ("b.md:3", "One two three. One two three. \n\nThe end."),
        ("deep/a.txt:1", "Deep."),
    ]


def test_a_library_is_the_same_as_long_as_its_files_are() -> None:
    write(docs__a_md="One.", docs__b_md="Two.")
    stage = Folder("docs")
    first = stage.run()
    assert stage.run() is first
    os.utime("docs/a.md", ns=(1, 1))
    assert stage.run() == first  # read anew, and of the same content
    write(docs__b_md="Three.")
    assert stage.run() != first
    assert [one.text for one in stage.run().passages] == ["One.", "Three."]


def test_pages_of_a_pdf_are_numbered() -> None:
    pytest.importorskip("pypdf", reason="pypdf is not installed")
    Path("docs").mkdir()
    write_pdf(Path("docs/guide.pdf"), "The lamp has two switches.", "", "Page three.\nIt ends here.")
    library = Folder("docs", endings=(".pdf",)).run()
    assert [(one.source, one.text) for one in library.passages] == [
        ("guide.pdf p. 1", "The lamp has two switches."),
        ("guide.pdf p. 3", "Page three.\nIt ends here."),
    ]
    assert Files(("docs/guide.pdf",)).run().items == (
        Item("The lamp has two switches.\n\nPage three.\nIt ends here.", "docs/guide.pdf"),
    )


def test_a_pdf_that_says_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pypdf", reason="pypdf is not installed")
    write_pdf(Path("scan.pdf"), "", "")
    Path("broken.pdf").write_bytes(b"%PDF-1.4\nnothing of the kind")
    no_text = "there is no text in it, perhaps pictures of pages. Let a program read them first."
    assert refused(Files(("scan.pdf",))) == f"scan.pdf: {no_text}"
    said = refused(Files(("broken.pdf",)))
    assert said.startswith("broken.pdf: it cannot be read as PDF (")
    assert said.endswith("). Save it anew, or as text.")
    assert caplog.records == []


def test_without_pypdf_a_pdf_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LIBRARY", "no_such_library")
    write_pdf(Path("guide.pdf"), "x")
    right = 'a PDF needs pypdf, which is not installed. Run: pip install "vllm-flow[pdf]".'
    assert problems({"use": "source/files", "paths": ["guide.pdf"]}) == [f"graph.found.paths.0: guide.pdf: {right}"]
    entry = {"use": "source/folder", "path": ".", "endings": [".md", ".pdf"]}
    assert problems(entry) == [f"graph.found.endings.1: {right}"]


def test_what_is_no_text_is_told_with_its_place() -> None:
    Path("docs").mkdir()
    Path("docs/a.md").write_bytes(b"one\ntwo\n\xff\n")
    assert refused(Folder("docs")) == "a.md:3: the text is not UTF-8. Save it as UTF-8."
    assert refused(Files(("docs/a.md",))) == "docs/a.md:3: the text is not UTF-8. Save it as UTF-8."


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_bytes": 10}, "b.md: it is longer than 10 bytes. Shorten it, or raise max_bytes."),
        ({"max_files": 1}, "docs: it has more than 1 documents. Raise max_files."),
        (
            {"max_total_bytes": 20},
            "docs: its documents have 24 bytes, and max_total_bytes is 20. Raise it, or choose fewer documents.",
        ),
    ],
)
def test_what_is_too_much_is_refused(options: dict[str, int], problem: str) -> None:
    write(docs__a_md="short", docs__b_md="somewhat longer one")
    assert refused(Folder("docs", **options)) == problem  # type: ignore[arg-type]


def test_all_that_is_wrong_with_paths_is_found_by_check(tmp_path: Path, here: Path) -> None:
    write(notes_md="x", docs__a_md="x", docs__b_csv="x")
    (tmp_path / "secret.md").write_text("secret")
    Path("link.md").symlink_to(tmp_path / "secret.md")
    outside = "it lies outside of the working directory. Move it here, or name the folder it is in under roots."
    paths = ["note.md", "../secret.md", "docs", "docs/b.csv", "no/x.md", "link.md", "/etc/hostname", "a\0b"]
    assert problems({"use": "source/files", "paths": paths}) == [
        "graph.found.paths.0: note.md: there is no such place. Did you mean 'notes.md'? There: docs, link.md, notes.md.",
        f"graph.found.paths.1: ../secret.md: {outside}",
        "graph.found.paths.2: docs: it is a folder. Name files.",
        "graph.found.paths.3: docs/b.csv: files that end in '.csv' are not read. Endings: .md, .txt, .pdf.",
        f"graph.found.paths.4: no/x.md: there is no folder '{here.resolve() / 'no'}'. Name a place that exists.",
        f"graph.found.paths.5: link.md: {outside}",
        f"graph.found.paths.6: /etc/hostname: {outside}",
        "graph.found.paths.7: 'a\\x00b': there can be no such place (embedded null byte). Write another path.",
    ]
    assert Files(("../secret.md",), roots=(str(tmp_path),)).run().items[0].text == "secret"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"path": "doc"}, "path: doc: there is no such place. Did you mean 'docs'? There: docs, empty."),
        ({"path": "docs/a.md"}, "path: docs/a.md: it is a file. Name a folder, or use source/files."),
        ({"path": "empty"}, "path: empty: no file in it ends in .md, .txt. Name another folder."),
        (
            {"path": ".."},
            "path: ..: it lies outside of the working directory. Move it here, or name the folder it is in under roots.",
        ),
        ({"path": "docs", "overlap": 500}, "overlap: it is more than half of a passage. Choose at most 400."),
        (
            {"path": "docs", "endings": [".md", ".html"]},
            "endings.1: files that end in '.html' are not read. Endings: .md, .txt, .pdf.",
        ),
    ],
)
def test_all_that_is_wrong_with_a_folder_is_found_by_check(options: dict[str, Any], problem: str) -> None:
    write(docs__a_md="x", empty__b_csv="x")
    assert problems({"use": "source/folder", **options}) == [f"graph.found.{problem}"]


def test_a_link_in_a_folder_that_leads_out_of_it_is_refused(tmp_path: Path) -> None:
    write(docs__a_md="x")
    (tmp_path / "secret.md").write_text("secret")
    Path("docs/b.md").symlink_to(tmp_path / "secret.md")
    assert refused(Folder("docs")) == "b.md: it is a link that leads out of docs. Put the file itself there."
