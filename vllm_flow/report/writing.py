"""Writes the page: one HTML file that needs no network and no other file, and can be printed.

Tables and sentences are HTML, so that they are there without JavaScript; plots and answers are drawn by the page's own
script from data that is embedded once. Whatever a model wrote is data: it is escaped here, and only ever set as text
there. A content security policy lets nothing run but that one script, and nothing load at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vllm_flow import __version__
from vllm_flow.core.errors import RecordError
from vllm_flow.core.files import replaced
from vllm_flow.report.tables import all_metrics_table, costs_table, points_table

FILE = "report.html"
SCRIPTS = ("drawing.js", "tables.js", "plots.js", "plotting.js", "courses.js", "answers.js", "main.js")
"""In this order, as one script: each uses names of those before it."""

COMPANY = (
    '<p class="note">Points run at once and share their batches, so seconds say as much of the company as of '
    "the point; run one alone to know its own speed.</p>"
)
SURROGATE = re.compile(r"[\ud800-\udfff]")


def write_page(data: Mapping[str, Any], answers: Mapping[str, Any], folder: Path) -> Path:
    """`report.html` in the folder, replaced whole. Raises RecordError when it cannot be written."""
    path = folder / FILE
    try:
        with replaced(path) as file:
            file.write(page(data, answers))
    except OSError as error:
        raise RecordError(f"{path}: it cannot be written: {error.strerror or error}. Free space.") from error
    return path


def page(data: Mapping[str, Any], answers: Mapping[str, Any]) -> str:
    """The whole HTML. `data` is that of `as_data`, `answers` the fields of `Embedded`.

    Half a surrogate pair, which a model may write, and which no page can hold, becomes the replacement character.
    """
    own = files("vllm_flow.report") / "page"
    script = "\n".join((own / name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = (own / "page.css").read_text(encoding="utf-8")
    count, sweep = len(data["points"]), data["kind"] == "sweep"
    title = f"{data['about']['pipeline']}: {f'{count} points' if sweep else 'one run'}"
    whole = Template((own / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        about=_about(data),
        found=_found(data["sentences"]),
        answers_heading="Answers side by side" if sweep else "Answers",
        cost_note=COMPANY if sweep else "",
        points_heading="Points" if sweep else "Scores",
        points=points_table(data),
        others=all_metrics_table(data),
        cost=costs_table(data),
        footer=escape(f"Made by vllm-flow {__version__} from {data['folder']}; make it again with vllm-flow report."),
        data=_embedded_json({**data, "answers": answers}),
    )
    return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", whole)


def _found(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    lines = "\n".join(f"<li>{escape(said)}</li>" for said in sentences)
    heading = '<h2 id="found">What was found</h2>'
    return f'<section aria-labelledby="found">\n{heading}\n<ul class="said">\n{lines}\n</ul>\n</section>'


def _embedded_json(value: Any) -> str:
    """JSON that no HTML parser can find the end of its element in, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _about(data: Mapping[str, Any]) -> str:
    about = data["about"]
    git = about["git"]
    commit = f"{(git['commit'] or 'no commit yet')[:12]}{', with changes' if git['dirty'] else ''}" if git else "none"
    lines: list[tuple[str, str]] = [
        ("folder", data["folder"]),
        ("status", about["status"]),
        ("began", _when(about["started"])),
        ("ended", _when(about["finished"])),
        *((name, _resource(one)) for name, one in about["resources"].items()),
        ("varied", ", ".join(data["keys"]) or "nothing"),
        ("seed", ", ".join(map(str, about["seeds"]))),
        ("git", commit),
        ("versions", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
        ("platform", about["platform"] or "–"),
    ]
    return "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines)


def _when(time: str | None) -> str:
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time else "–"


def _resource(told: Any) -> str:
    if not isinstance(told, Mapping):
        return str(told)
    plain: Sequence[str] = [f"{key} {value}" for key, value in told.items() if isinstance(value, str | int | float)]
    return ", ".join(plain)
