"""The page: one file that is whole, safe whatever a model wrote, light however large the sweep, and quiet in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main
from vllm_flow.report.answers import embedded
from vllm_flow.report.reading import read_sweep

from .conftest import PROMPTS, change_run, rewrite

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> <!-- &lt; \u2028 \ud83d"
IN_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def page_of(folder: Path) -> str:
    assert main(["report", str(folder)]) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


def table_of(page: str, caption: str) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of the table whose caption begins so."""
    (found,) = re.findall(rf"<caption>{caption}.*?</table>", page, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", found)]
    return rows[0], rows[1:]


def serve_half_from_the_store(point: Path) -> None:
    """As if every other turn of a point had been answered before."""
    change_run(point, turns={"answered": 2 * PROMPTS, "failed": 0, "stored": PROMPTS})
    lines = (point / "timings.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (point / "timings.jsonl").write_text("".join(lines[::2]), encoding="utf-8")


@pytest.fixture
def hostile(project: Path) -> Path:
    """The sweep, with texts that try to get out of their place."""

    def said(row: dict[str, Any]) -> dict[str, Any]:
        value = {**row["value"], "text": f"{row['value']['text']} {HOSTILE}"}
        return {**row, "value": value, "message": {"role": "user", "content": HOSTILE}}

    def otherwise(row: dict[str, Any]) -> dict[str, Any]:
        value = {**row["value"], "text": row["value"]["text"].replace("Question", "Another question")}
        return {**row, "value": value}

    for n in range(3):
        rewrite(project / f"sweep/{n}", said)
    rewrite(project / "sweep/2", otherwise)
    return project / "sweep"


def test_whatever_a_model_wrote_stays_data(hostile: Path) -> None:
    page = page_of(hostile)
    assert page.lower().count("<script") == page.lower().count("</script") == 2
    assert "<img" not in page
    assert "innerHTML" not in page
    data = data_of(page)
    whole = HOSTILE.replace("\ud83d", "\ufffd")
    assert data["answers"]["prompts"][0]["asked"] == [{"role": "user", "text": whole}]
    assert data["answers"]["answers"][0][0][0]["text"].endswith(whole)


def test_only_its_own_script_and_style_may_run_and_nothing_is_loaded(hostile: Path) -> None:
    page = page_of(hostile)
    for element, name in (("script", "script-src"), ("style", "style-src")):
        (own,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[\w./]+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_answers_are_there_side_by_side_with_their_marks(project: Path) -> None:
    data = data_of(page_of(project / "sweep"))
    answers = data["answers"]
    assert len(answers["prompts"]) == len(answers["answers"]) == PROMPTS
    assert answers["prompts"][3] == {
        "conversation": "q3", "turn": 1, "asked": [{"role": "user", "text": "Question <b>3</b>?"}], "reference": "q3.",
    }  # fmt: skip
    assert [[one["sample"] for one in point] for point in answers["answers"][3]] == [[0, 1]] * 3
    cold = answers["answers"][3][0][0]
    assert cold["marks"] == {"correct": "q3." in cold["text"]}
    assert answers["left_out"] == ""


def test_answers_of_the_store_cost_nothing_and_thin_no_others(project: Path) -> None:
    serve_half_from_the_store(project / "sweep/0")
    change_run(project / "sweep/2", turns={"answered": 2 * PROMPTS, "failed": 0, "stored": 2 * PROMPTS})
    heads, rows = table_of(page_of(project / "sweep"), "Tokens, and seconds")
    tokens, each = heads.index("generated"), heads.index("an answer")
    assert [(row[tokens], row[each]) for row in rows] == [("40", "2"), ("80", "2"), ("80", "–")]


@pytest.mark.parametrize("name", ["answered", "failed", "status"])
def test_a_metric_may_be_called_what_a_column_is_called(project: Path, name: str) -> None:
    assert main(["report", "sweep", f"metrics.{name}={{use: answer/contains}}"]) == 0
    heads, rows = table_of((project / "sweep/report.html").read_text(encoding="utf-8"), "Means over prompts")
    assert heads == ["point", "temperature", name, "from the baseline", "verdict", "answered"]
    assert [(row[0], len(row), row[-1]) for row in rows] == [(str(place), 6, "40") for place in range(3)]


def test_what_a_large_sweep_leaves_out_is_said_with_its_place(project: Path) -> None:
    sweep = read_sweep(project / "sweep")
    few = embedded(sweep, max_characters=3_000)
    assert 0 < len(few.prompts) < PROMPTS
    assert few.left_out == (
        f"These are the first {len(few.prompts)} of {PROMPTS} prompts. "
        "All of them are in results.jsonl in each point's folder."
    )
    rewrite(project / "sweep/0", lambda row: {**row, "value": {**row["value"], "text": "word " * 200}})
    cut = embedded(read_sweep(project / "sweep"), max_characters=3_000)
    assert [len(one["text"]) for one in cut.answers[0][0]] == [400, 400]
    assert all(one["cut"] for one in cut.answers[0][0])
    assert "Texts of more than 400 characters are cut off. " in cut.left_out


def test_a_question_that_is_cut_off_is_said_to_be(project: Path) -> None:
    long = {"role": "user", "content": "word " * 200}
    rewrite(project / "sweep/0", lambda row: {**row, "message": long} if row["index"] < 2 else row)
    cut = embedded(read_sweep(project / "sweep"), max_characters=3_000)
    assert cut.prompts[0]["asked"] == [{"role": "user", "text": ("word " * 200)[:400], "cut": True}]
    assert cut.prompts[1]["asked"] == [{"role": "user", "text": "Question <b>1</b>?"}]
    assert "Texts of more than 400 characters are cut off. " in cut.left_out


def test_tokens_come_with_their_probability_where_it_was_recorded(project: Path) -> None:
    assert main(["pipeline=dialogue", "engine=echo", "input.path=rows.jsonl", "graph.reply.logprobs=true", "hydra.run.dir=run"]) == 0  # fmt: skip
    tokens = data_of(page_of(project / "run"))["answers"]["answers"][0][0][0]["tokens"]
    assert tokens == [["Question", 1.0], [" <b>0</b>?", 1.0]]


def browsed(page: Path, profile: Path) -> tuple[str, list[str], list[str]]:
    """The page as Chromium makes it, what it printed to the console, and what it asked of a network."""
    log = profile / "net.json"
    flags = (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={profile}",
        f"--log-net-log={log}", "--dump-dom",
    )  # fmt: skip
    done = subprocess.run(
        [str(CHROMIUM), *flags, page.as_uri()],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    # What the browser asks of its own accord has no origin; a page from a file has the origin null.
    initiated = re.findall(r'"initiator":"null"[^\n]*?"url":"([^"]*)"', log.read_text(encoding="utf-8"))
    return done.stdout, lines, initiated


@IN_BROWSER
def test_a_browser_draws_it_without_an_error_and_without_the_network(hostile: Path, tmp_path: Path) -> None:
    page_of(hostile)
    dom, console, asked = browsed(hostile / "report.html", tmp_path)
    assert (console, asked) == ([], [])
    assert "<title>noisy: 3 points</title>" in dom
    body = dom.partition("</main>")[0]
    assert body.count("<svg") == 1  # all points cost the same, so there is no second plot
    assert body.count('<article class="card') == 3
    assert "<del>Question</del><ins>Another question</ins> &lt;b&gt;0" in body
    assert body.count("<img") == 0
    assert body.count("&lt;/script&gt;&lt;script&gt;document.title='owned'") >= 3


@IN_BROWSER
def test_a_browser_sees_what_is_cut_and_counts_no_answers_of_the_store(project: Path, tmp_path: Path) -> None:
    serve_half_from_the_store(project / "sweep/0")
    long = {"role": "user", "content": "word " * 100_000}
    rewrite(project / "sweep/0", lambda row: {**row, "message": long} if row["index"] < 2 else row)
    page_of(project / "sweep")
    dom, console, _ = browsed(project / "sweep/report.html", tmp_path)
    body = dom.partition("</main>")[0]
    assert console == []
    assert "word wor<i> … cut off here</i></p>" in body
    assert body.count("<svg") == 1  # an answer costs the same at all points


@IN_BROWSER
def test_the_look_at_the_browser_sees_an_error_and_a_request(project: Path, tmp_path: Path) -> None:
    page = page_of(project / "sweep").replace('"points":[', '"points":[null,')
    page = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("<main>", '<main><img src="http://127.0.0.1:9/a.png">')
    (tmp_path / "broken.html").write_text(page, encoding="utf-8")
    _, console, asked = browsed(tmp_path / "broken.html", tmp_path)
    assert any("TypeError" in line for line in console)
    assert asked == ["http://127.0.0.1:9/a.png"]
