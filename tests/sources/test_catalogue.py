"""Catalogues: what a file of JSON lines offers, every row that is refused, and what a name means."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.catalogue import Catalogue, Offer
from vllm_flow.core.errors import ConfigError, SourceError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec
from vllm_flow.sources import JsonLines


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def write(*rows: Any) -> None:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
    Path("things.jsonl").write_text("\n".join(lines), encoding="utf-8")


def refused(**options: Any) -> list[str]:
    with pytest.raises(SourceError) as told:
        JsonLines("things.jsonl", **options).run()
    return str(told.value).splitlines()


def problems(entry: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as told:
        Pipeline.build(RunSpec("x", {"found": {"use": "source/catalogue", **entry}}, "found"))
    return str(told.value).splitlines()


LAMP = {"id": 7, "title": "Faro", "text": "A reading lamp.", "tags": ["light", "oak"], "popularity": 3, "price": 49.5}
RUG = {"id": "r", "title": "Lana", "text": "A wool rug."}


def test_a_row_is_an_offer_with_all_that_it_says() -> None:
    write("\ufeff" + json.dumps(LAMP), "", RUG)
    catalogue = JsonLines("things.jsonl").run()
    lamp = Offer("7", "Faro", "Faro: A reading lamp.", 3.0, LAMP)
    assert catalogue.offers == (lamp, Offer("r", "Lana", "Lana: A wool rug.", None, RUG))


def test_the_text_is_made_of_any_columns() -> None:
    write(LAMP)
    text = "{title} ({tags}), {price} euros {{now}}"
    assert JsonLines("things.jsonl", text=text).run().offers[0].text == "Faro (light, oak), 49.5 euros {now}"


def test_a_file_is_read_anew_when_it_has_changed_and_equal_offers_are_equal_catalogues() -> None:
    write(LAMP, RUG)
    first = JsonLines("things.jsonl").run()
    assert JsonLines("things.jsonl").run() is first
    os.utime("things.jsonl", ns=(1, 1))
    assert JsonLines("things.jsonl").run() == first
    write(RUG, LAMP)
    assert JsonLines("things.jsonl").run() != first
    assert "Faro" not in repr(first)


def test_every_row_that_is_wrong_is_told_with_its_line() -> None:
    write(
        LAMP,
        "{",
        [1],
        {"id": "a", "titel": "x", "text": "y"},
        {"id": True, "title": "x", "text": "y"},
        {"id": "b", "title": " ", "text": "y"},
        {"id": "c", "title": "two\nlines", "text": "y"},
        {"id": "7", "title": "x", "text": "y"},
        {"id": "d", "title": "x", "text": "y", "popularity": "much"},
        {"id": "e", "title": "x" * 201, "text": "y"},
        {"id": "f", "title": "x", "text": "\ud83d"},
    )
    assert refused() == [
        "things.jsonl:2: not JSON, at character 2: Expecting property name enclosed in double quotes. Write one JSON value.",
        "things.jsonl:3: it is no mapping. Write {…} with `id` and `title`.",
        "things.jsonl:4: there is no 'title'. Did you mean 'titel'? Write it, or null where nobody knows.",
        "things.jsonl:5: id: true is no text. Write one.",
        "things.jsonl:6: title: ' ' is no text. Write one.",
        "things.jsonl:7: title: 'two\\nlines' has a line break, or what no text can hold. Remove it.",
        "things.jsonl:8: id: '7' is that of line 1, too. Give each its own.",
        "things.jsonl:9: popularity: 'much' is no number. Write one, or leave it out.",
        "things.jsonl: 2 rows more are wrong. Mend these first.",
    ]
    large = [
        {"id": name, "title": "x", "text": "y", "popularity": number}
        for name, number in (("g", 10**400), ("h", -1e301))
    ]
    write({"id": "e", "title": "x" * 201, "text": "y"}, {"id": "f", "title": "x", "text": "\ud83d"}, *large)
    assert refused() == [
        "things.jsonl:1: title: it has more than 200 characters. Shorten it.",
        "things.jsonl:2: text: it has half of a character in it. Write both halves.",
        f"things.jsonl:3: popularity: 1{'0' * 56}... is too large a number. Write a smaller one.",
        "things.jsonl:4: popularity: -1e+301 is too large a number. Write a smaller one.",
    ]


def test_what_is_no_text_at_all_is_told() -> None:
    Path("things.jsonl").write_bytes(b'{"id": "a"}\n{"id": "\xff"}\n')
    assert refused()[1] == "things.jsonl:2: the text is not UTF-8, at byte 9. Save it as UTF-8."
    write("", " ")
    assert refused() == ["things.jsonl: there are no rows. Write one thing to a line, with `id` and `title`."]
    write(LAMP, RUG)
    assert refused(max_items=1) == ["things.jsonl: it has more than 1 rows. Raise max_items."]
    assert refused(max_bytes=9) == ["things.jsonl: it is longer than 9 bytes. Raise max_bytes."]


def test_all_faults_are_found_before_anything_runs() -> None:
    write({"id": "a", "text": "x"}, {"title": "b", "text": "x"})
    assert problems({"path": "things.jsonl"}) == [
        "graph.found.path: things.jsonl:1: there is no 'title'. Write it, or null where nobody knows.",
        "graph.found.path: things.jsonl:2: there is no 'id'. Write it, or null where nobody knows.",
    ]
    assert problems({"path": "thing.jsonl"}) == [
        "graph.found.path: thing.jsonl: there is no such place. Did you mean 'things.jsonl'? There: things.jsonl.",
    ]
    assert problems({"path": "."}) == ["graph.found.path: .: it is a folder. Name a file of JSON lines."]
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
        assert problems({"path": "pipe"}) == ["graph.found.path: pipe: it is no file. Name a file of JSON lines."]
    assert problems({"path": "things.jsonl", "text": "{text}"}) == [
        "graph.found.text: it lacks {title}, which is what a model says when it recommends one. Write it in.",
    ]
    assert problems({"path": "things.jsonl", "text": "{title"}) == [
        "graph.found.text: a brace stands alone. Write {column}, and {{ or }} for a brace itself.",
    ]


SHELF = Catalogue.of(
    (Offer("d", "Dracula", "x"), Offer("e", "Emma", "x"), Offer("e2", "EMMA", "x"), Offer("Emma x", "Other", "x"))
)


def test_a_name_is_an_id_or_else_a_title_in_whatever_case() -> None:
    assert [SHELF.place(one) for one in ("d", "dracula", " DRACULA ", "e2", "Emma x", "other")] == [0, 0, 0, 2, 3, 3]


def test_a_name_that_means_none_or_several_is_told_with_what_would_be_right() -> None:
    told = {"Dracul": "there is no 'Dracul' in the catalogue. Did you mean 'Dracula'?",
            "Middlemarch": "there is no 'Middlemarch' in the catalogue.",
            "emma": "2 have the title 'emma'. Name one by its id: e, e2."}  # fmt: skip
    for name, problem in told.items():
        with pytest.raises(LookupError) as error:
            SHELF.place(name)
        assert str(error.value) == problem


@pytest.mark.full
def test_a_hundred_thousand_rows_are_read_within_ten_seconds_and_two_hundred_megabytes() -> None:
    write(*({"id": n, "title": f"Thing {n}", "text": "It is of use. " * 9} for n in range(100_000)))
    start = time.perf_counter()
    catalogue = JsonLines("things.jsonl").run()
    taken = time.perf_counter() - start
    assert len(catalogue.offers) == 100_000
    with pytest.raises(LookupError, match="Did you mean 'Thing 5'"):
        catalogue.place("Thing5")
    assert taken < 10
    os.utime("things.jsonl", ns=(1, 1))
    tracemalloc.start()
    again = JsonLines("things.jsonl").run()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again == catalogue
    assert most < 200e6
