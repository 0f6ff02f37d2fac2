"""Days as people say them, in English and in Chinese, from the day that it is."""

from __future__ import annotations

import re
from datetime import date, timedelta

from vllm_flow.core.errors import ToolError
from vllm_flow.core.options import Constraint

WORDS = {
    "today": 0, "tonight": 0, "now": 0, "this evening": 0, "tomorrow": 1, "day after tomorrow": 2,
    "今天": 0, "今日": 0, "今晚": 0, "现在": 0, "明天": 1, "明日": 1, "明晚": 1, "后天": 2, "大后天": 3,
}  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CHINESE = "一二三四五六日"
ISO = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
DATED = re.compile(r"(?:(?P<year>\d{4})年)?(?P<month>\d{1,2})月(?P<day>\d{1,2})[日号]?")
IN_DAYS = re.compile(r"in (?P<count>\d{1,2}) days?|(?P<days>\d{1,2})天后")
WEEK = re.compile(r"(?P<next>下)?(?:个)?(?:周|星期|礼拜)(?P<day>[一二三四五六日天])")
PATTERN = "|".join([
    r"([Tt]he )?([Tt]oday|[Tt]onight|[Nn]ow|[Tt]his evening|[Tt]omorrow|[Dd]ay after tomorrow)",
    r"([Oo]n )?([Tt]his |[Nn]ext )?([Mm]on|[Tt]ues|[Ww]ednes|[Tt]hurs|[Ff]ri|[Ss]atur|[Ss]un)day",
    r"[Ii]n [0-9]{1,2} days?",
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}",
    r"今[天日晚]|现在|明[天日晚]|大?后天|[0-9]{1,2}天后",
    r"下?个?(周|星期|礼拜)[一二三四五六日天]",
    r"([0-9]{4}年)?[0-9]{1,2}月[0-9]{1,2}[日号]?",
])  # fmt: skip
"""What `day_of` understands, for a schema: in what all readers of regular expressions share."""
KNOWN = "today, tomorrow, a weekday, or a date such as 2026-11-29"
DAY = Constraint((("pattern", f"^({PATTERN})?$"), ("title", KNOWN)))


def day_of(said: str, today: date) -> date:
    """The day that is meant. A weekday is the next such day, today included. Raises ToolError."""
    text = said.strip().casefold().removeprefix("the ").removeprefix("on ")
    if not text or text in WORDS:
        return today + timedelta(days=WORDS.get(text, 0))
    if found := IN_DAYS.fullmatch(text):
        return today + timedelta(days=int(found["count"] or found["days"]))
    bare = text.removeprefix("this ").removeprefix("next ")
    if bare in WEEKDAYS:
        return today + timedelta(days=(WEEKDAYS.index(bare) - today.weekday()) % 7)
    if found := WEEK.fullmatch(text):
        place = CHINESE.index("日" if found["day"] == "天" else found["day"])
        if found["next"]:
            return today + timedelta(days=7 - today.weekday() + place)
        return today + timedelta(days=(place - today.weekday()) % 7)
    try:
        if ISO.fullmatch(text):
            return date(*map(int, text.split("-")))
        if found := DATED.fullmatch(text):
            return date(int(found["year"] or today.year), int(found["month"]), int(found["day"]))
    except ValueError:
        pass
    raise ToolError(f"the day '{said}' is not understood. Write {KNOWN}")
