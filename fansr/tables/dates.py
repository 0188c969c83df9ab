"""Dates and times of day as numbers: days, seconds or months since the first of a column.

    read(["2024-01-01", "2024-01-03"], ...)     # 0, 2 and a Reading: days since 2024-01-01

Read are ISO 8601 (with time, fraction and zone), 31.12.2024, 12/31/2024 and 31/12/2024, 2 Jan 2024, January 2, 2024, 2024-01,
Jan 2024, and times 23:59:59.  Which of 01/02/2024 is the day, the whole column decides: a part above 12, or an order in which
the rows follow each other in time.  What stays open is refused with the cell.  Two-digit years are those of POSIX: 69 to 99 are
1969 to 1999.  A column with times is in seconds, one of months alone in months, any other in days.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fansr.tables.cells import LONGEST, Column, Reading, Style

DAY = 86_400 * 10**9  # nanoseconds, in which times are held as whole numbers
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?(?: ?(?P<half>[ap])\.?m\.?)?"
    r"(?: ?(?P<zone>z|utc|gmt|[+-]\d\d(?::?\d\d)?))?"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )?"
_FORMS = [
    _WEEKDAY + form + rf"(?:(?:t|,? +|, ?){_TIME})?"
    for form in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})",
        r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<then>\d{1,2})(?P=mark)(?P<year>\d{4}|\d\d)",
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:[-/ ]|\. ?){_MONTH}(?:[-/ ]|, ?)(?P<year>\d{{4}}|\d\d)",
        rf"{_MONTH}[- ](?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:, ?|[- ])(?P<year>\d{{4}})",
    )
]
_FORMS.append(
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)t(?P<hour>\d\d)(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?(?P<zone>z)?"
)
_MONTHLY = [
    r"(?P<year>\d{4})[-/](?P<month>\d{1,2})",
    r"(?P<month>\d{1,2})/(?P<year>\d{4})",
    rf"{_MONTH}[- /](?P<year>\d{{4}}|\d\d)",
]
_CLOCK = (
    r"(?P<sign>-?)(?:(?P<days>\d{1,6}) days?,? )?(?P<hour>\d{1,4}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?"
)
_RACE = r"(?P<minute>\d{1,4}):(?P<second>\d\d)[.,](?P<fraction>\d{1,9})"


@functools.cache  # compiled when a table first needs them: most tables never do
def _compiled(*forms: str) -> list[re.Pattern]:
    return [re.compile(form, re.IGNORECASE) for form in forms]


class Moment(NamedTuple):
    """`at` in nanoseconds since the year 1, or months since the year 0; what the cell says beyond its day."""

    at: int
    kind: str  # "day", "time", "month"
    zoned: bool = False


def _match(text: str):
    if not 4 < len(text) <= LONGEST or not any(letter.isdigit() for letter in text):
        return None
    for form in _compiled(*_FORMS):
        found = form.fullmatch(text)
        if found is not None:
            return found
    return None


def _year(text: str) -> int:
    return int(text) + (0 if len(text) == 4 else 1900 if int(text) >= 69 else 2000)


def _nanoseconds(parts: dict) -> int:
    """Of the time of a day; ValueError for 25:00 and the like."""
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    half = (parts.get("half") or "").lower()
    if half and not 1 <= hour <= 12 or hour > 24 or minute > 59 or second > 59:
        raise ValueError
    hour = hour % 12 + 12 * (half == "p") if half else hour
    return ((hour * 60 + minute) * 60 + second) * 10**9 + int((parts.get("fraction") or "").ljust(9, "0"))


def _zone(text: str) -> int:
    """Nanoseconds that a zone is ahead of universal time."""
    if text[:1] not in ("+", "-"):
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    return (-1 if text[0] == "-" else 1) * (int(digits[:2]) * 60 + int(digits[2:])) * 60 * 10**9


def moment(text: str, order: str = "") -> Moment | None:
    """A date, with the month first if `order` is "mdy" and its parts alone do not tell, or None."""
    found = _match(text)
    try:
        if found is not None:
            parts = found.groupdict()
            day, month = parts.get("day"), parts.get("month")
            if parts.get("first"):
                day, month = parts["first"], parts["then"]
                if order == "mdy" and parts["mark"] != ".":
                    day, month = month, day
            if parts.get("name"):
                month = _MONTHS.index(parts["name"][:3].lower()) + 1
            at = datetime.date(_year(parts["year"]), int(month), int(day)).toordinal() * DAY
            if parts.get("hour") is None:
                return Moment(at, "day")
            zone = parts.get("zone") or ""
            return Moment(at + _nanoseconds(parts) - _zone(zone), "time", bool(zone))
        for form in _compiled(*_MONTHLY):
            found = form.fullmatch(text) if len(text) <= LONGEST else None
            if found is not None:
                parts = found.groupdict()
                month = _MONTHS.index(parts["name"][:3].lower()) + 1 if parts.get("name") else int(parts["month"])
                return Moment(_year(parts["year"]) * 12 + month - 1, "month") if 1 <= month <= 12 else None
    except (ValueError, OverflowError):
        return None
    return None


def _clock(text: str) -> tuple[int, str] | None:
    """Nanoseconds of h:mm, h:mm:ss or m:ss.f, and which it is, or None."""
    if len(text) > LONGEST or ":" not in text:
        return None
    race_form, clock_form = _compiled(_RACE, _CLOCK)
    race = race_form.fullmatch(text)
    if race is not None:
        if int(race["second"]) > 59:
            return None
        return (int(race["minute"]) * 60 + int(race["second"])) * 10**9 + int(race["fraction"].ljust(9, "0")), "ms"
    found = clock_form.fullmatch(text)
    if found is None:
        return None
    parts = found.groupdict()
    long = int(parts["hour"]) // 24 if not parts["half"] else 0  # durations go beyond a day
    try:
        at = _nanoseconds({**parts, "hour": str(int(parts["hour"]) - 24 * long)})
    except ValueError:
        return None
    at += (int(parts["days"] or 0) + long) * DAY
    return (-at if parts["sign"] else at), "hms"


def read(texts: Sequence[str], present: list[int], style: Style, where: Callable[[int], str]) -> Column | None:
    """A column of dates or times as numbers, or None where most of its cells are neither."""
    found = {text: _match(text) for text in {texts[m] for m in present}}
    order, cause = _order(texts, present, found, style, where)
    if cause:
        return Column(np.full(len(texts), np.nan), list(present), None, cause)
    seen = {text: moment(text, order) for text in found}
    moments = {m: at for m in present if (at := seen[texts[m]]) is not None}
    if 2 * len(moments) < len(present) or not moments:
        return _read_clocks(texts, present)
    kinds = {at.kind for at in moments.values()}
    if "month" in kinds and len(kinds) > 1:
        a = next(m for m, at in moments.items() if at.kind == "month")
        b = next(m for m, at in moments.items() if at.kind != "month")
        cause = f"{texts[a]} in {where(a)} is a month but {texts[b]} in {where(b)} a day: write days throughout"
        return Column(np.full(len(texts), np.nan), list(present), None, cause)
    timed = {m: at.zoned for m, at in moments.items() if at.kind == "time"}
    if len(set(timed.values())) > 1:
        a, b = next(m for m, zoned in timed.items() if zoned), next(m for m, zoned in timed.items() if not zoned)
        cause = f"{texts[a]} in {where(a)} has a zone but {texts[b]} in {where(b)} has none: write it throughout"
        return Column(np.full(len(texts), np.nan), list(present), None, cause)
    first = min(at.at for at in moments.values())
    unit = "months" if kinds == {"month"} else "seconds" if "time" in kinds else "days"
    origin = _iso(first, unit) + ("Z" if timed and all(timed.values()) else "")
    reading = Reading(kind="date", unit=unit, order=order, origin=origin)
    values, bad = np.full(len(texts), np.nan), [m for m in present if m not in moments]
    for m, at in moments.items():
        values[m] = _difference(at.at, first, unit)
    if len(bad) > len(moments):
        return None
    return Column(values, bad, reading)


def _read_clocks(texts: Sequence[str], present: list[int]) -> Column | None:
    clocks = {m: at for m in present if (at := _clock(texts[m])) is not None}
    if 2 * len(clocks) < len(present) or not clocks:
        return None
    bad = [m for m in present if m not in clocks]
    # 3:45 beside 3:59.2 is minutes and seconds.
    race = any(kind == "ms" for _, kind in clocks.values())
    values = np.full(len(texts), np.nan)
    for m, (at, kind) in clocks.items():
        values[m] = at / 10**9 / (60 if race and kind == "hms" and texts[m].count(":") == 1 else 1)
    return Column(values, bad, Reading(kind="clock", unit="seconds", order="ms" if race else "hms"))


def apply(texts: Sequence[str], present: list[int], reading: Reading) -> dict[int, float]:
    """Numbers of new cells by row, since the same origin and in the same unit; those that are no dates are left out."""
    if reading.kind == "clock":
        column = _read_clocks(texts, present)
        return {} if column is None else {m: float(column.values[m]) for m in present if m not in column.bad}
    origin = moment(reading.origin)
    assert origin is not None, f"the origin {reading.origin!r} of a column of dates is no date"
    values = {}
    for m in present:
        text = texts[m]
        if reading.order == "compact" and (found := re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:\.0)?", text)):
            text = "-".join(found.groups())
        at = moment(text, reading.order)
        if at is not None and (at.kind == "month") == (reading.unit == "months"):
            values[m] = _difference(at.at, origin.at, reading.unit)
    return values


def _order(texts, present, found: dict, style: Style, where) -> tuple[str, str]:
    """ "dmy" or "mdy" for a column in which that is not plain, and why it cannot be told."""
    doubtful = [m for m in present if (match := found[texts[m]]) is not None and match.groupdict().get("first")]
    doubtful = [m for m in doubtful if min(int(found[texts[m]]["first"]), int(found[texts[m]]["then"])) <= 12]
    if not doubtful or 2 * len(doubtful) < len(present):  # a stray cell does not decide
        return "", ""
    marked = [m for m in doubtful if found[texts[m]]["mark"] != "."]
    if not marked:
        return "dmy", ""
    high = {
        name: next((m for m in marked if int(found[texts[m]][part]) > 12), None)
        for name, part in (("dmy", "first"), ("mdy", "then"))
    }
    a, b = high["dmy"], high["mdy"]
    if a is not None and b is not None:
        return (
            "",
            f"{texts[a]} in {where(a)} has the day first but {texts[b]} in {where(b)} the month: write 2024-12-31",
        )
    if a is not None or b is not None:
        return ("dmy" if a is not None else "mdy"), ""
    if style.dates:
        return style.dates, ""
    sorted_in = [order for order in ("dmy", "mdy") if _in_order([moment(texts[m], order) for m in marked])]
    if len(sorted_in) == 1:
        return sorted_in[0], ""
    if all(found[texts[m]]["first"] == found[texts[m]]["then"] for m in marked):
        return "dmy", ""
    m = next(m for m in marked if found[texts[m]]["first"] != found[texts[m]]["then"])
    return "", (
        f"{texts[m]} in {where(m)} may have the day or the month first, and the other rows do not tell: write dates as "
        "2024-12-31, or give --dates day-first or --dates month-first"
    )


def _in_order(moments: list) -> bool:
    at = [moment.at for moment in moments if moment is not None]
    steps = [b - a for a, b in zip(at, at[1:])]
    return len(at) == len(moments) and len(at) > 2 and (all(s > 0 for s in steps) or all(s < 0 for s in steps))


def _difference(at: int, first: int, unit: str) -> float:
    return (at - first) / {"days": DAY, "seconds": 10**9, "months": 1}[unit]  # whole numbers divided: correctly rounded


def _iso(at: int, unit: str) -> str:
    if unit == "months":
        return f"{at // 12:04d}-{at % 12 + 1:02d}"
    day = datetime.date.fromordinal(at // DAY).isoformat()
    if unit == "days":
        return day
    rest = at % DAY
    fraction = f".{rest % 10**9:09d}".rstrip("0").rstrip(".")
    seconds = rest // 10**9
    return f"{day}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def of_numpy(
    column: np.ndarray, zoned: bool = False, reading: Reading | None = None
) -> tuple[np.ndarray, Reading | None]:
    """Values (M,) of datetime64, with NaN for NaT, and how they were read; by `reading` where one is given."""
    missing = np.isnat(column)
    if missing.all():
        return np.full(len(column), np.nan), reading
    whole = column.astype("datetime64[D]")
    days = np.where(missing, 0, whole.astype(np.int64)) + datetime.date(1970, 1, 1).toordinal()
    rest = np.where(missing, 0, (column - whole).astype("timedelta64[ns]").astype(np.int64))  # nanoseconds, of a day
    if reading is None:
        first = int(np.lexsort((rest, days, missing))[0])
        unit = "days" if not rest.any() and not zoned else "seconds"
        origin = _iso(int(days[first]) * DAY + int(rest[first]), unit) + ("Z" if zoned else "")
        reading = Reading(kind="date", unit=unit, origin=origin)
    start = moment(reading.origin)
    assert start is not None, f"the origin {reading.origin!r} of a column of dates is no date"
    if reading.unit == "months":
        months = column.astype("datetime64[M]").astype(np.int64) + 1970 * 12 - start.at
        return np.where(missing, np.nan, months), reading
    days -= start.at // DAY
    rest -= start.at % DAY
    if not (rest % 10**9).any() and reading.unit == "seconds":
        values = (days * 86_400 + rest // 10**9).astype(np.float64)
    elif not rest.any():
        values = days.astype(np.float64)
    else:  # beyond what 64 bits hold
        values = np.array([_difference(d * DAY + r, 0, reading.unit) for d, r in zip(days.tolist(), rest.tolist())])
    return np.where(missing, np.nan, values), reading


_COMPACT_NAMES = ("date", "datum", "day", "fecha", "jour", "tag", "yyyymmdd")


def of_compact(name: str, values: np.ndarray) -> tuple[np.ndarray, Reading] | None:
    """Days since the first of 20240131 and the like, in a column that is named after dates; None for any other column."""
    good = np.isfinite(values)
    if (
        not any(word in name.lower() for word in _COMPACT_NAMES)
        or good.sum() < 2
        or not ((values[good] >= 19000101) & (values[good] <= 21001231)).all()
    ):
        return None
    found = {
        value: moment(f"{str(int(value))[:4]}-{str(int(value))[4:6]}-{str(int(value))[6:]}")
        for value in set(values[good].tolist())
    }
    if any(at is None or value % 1 for value, at in found.items()):
        return None
    first = min(at.at for at in found.values() if at is not None)
    reading = Reading(kind="date", unit="days", order="compact", origin=_iso(first, "days"))
    days = [np.nan if not np.isfinite(v) else _difference(found[v].at, first, "days") for v in values.tolist()]  # type: ignore[union-attr]
    return np.array(days), reading
