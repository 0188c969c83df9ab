"""The cells of one column as numbers: decimal commas, thousands, percent, currencies, units.

    read(["6,070", "301", "7,290"], Style())         # 6070, 301, 7290 and a Reading that says how
    apply(Reading(percent=True), ["12.5%"])          # 0.125: the same for new rows

What one cell cannot tell, such as whether 1.234 is a little or a thousand, the whole column decides, then the other columns of
the file; what stays open is said, or the column is refused with the cells that contradict each other.  Reading is what was
decided: small, and the same as a plain dict, so that a saved law can read new rows as it read its own.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

MISSING_WORDS = (
    "",
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "-nan",
    "-NaN",
    "NULL",
    "null",
    "None",
    "?",
    "-",
    ".",
    "#N/A",
    "<NA>",
    "NaT",
)
# What pandas takes for missing and true besides; the two readers must agree.
MISSING = frozenset((*MISSING_WORDS, "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"))
TRUE, FALSE = frozenset(("True", "TRUE", "true")), frozenset(("False", "FALSE", "false"))
LONGEST = 64  # letters of a cell that is looked at as a number with something around it

_BLANK = "[ \u00a0\u2007\u2009\u202f]"  # those that stand between thousands or before a unit
_MINUS = r"\-\u2212\u2013"  # in a class of letters
_SIGNS = r"US\$|R\$|C\$|A\$|[$€£¥₹₽₩₺₪฿₫₴₦₱]"
_CODES = "USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|KRW|SGD|HKD|TRY|RUB|ILS|THB"
_MONEY = f"(?:{_SIGNS}|(?:{_CODES})\\b)"
_CORE = r"\d+(?:[.,'’ \u00a0\u2007\u2009\u202f]\d+)*[.,]?|[.,]\d+"
_SYMBOL = r"[A-Za-zÀ-ÖØ-öø-ÿµμΩΩÅ°℃℉′″]+(?:\^?[-−]?[1-9](?!\d)|⁻?[¹²³⁴])?"
UNIT = rf"(?:1/)?{_SYMBOL}(?: ?[*/·.×⋅] ?{_SYMBOL}| {_SYMBOL}){{0,4}}"


@functools.cache  # plain tables need none of these, and compiling them takes longer than reading one
def pattern(name: str) -> re.Pattern:
    """A compiled pattern of this file by name."""
    return re.compile(_PATTERNS[name])


_PATTERNS = {
    "cell": rf"(?P<open>\()?(?P<sign>[+{_MINUS}]?){_BLANK}*(?P<money>{_MONEY})?{_BLANK}*(?P<inner>[+{_MINUS}]?)"
    rf"(?P<core>{_CORE})(?:[eEdD](?P<power>[+{_MINUS}]?\d{{1,3}})(?![\w.]))?{_BLANK}*(?P<tail>[^\d\s()][^()]*)?(?P<close>\))?",
    "tail": rf"(?P<percent>%|‰)|(?P<money>{_SIGNS}|(?:{_CODES}))|(?P<unit>{UNIT})",
    "unit": UNIT,
    "hex": r"0[xX][0-9a-fA-F]+",
    # Grouped by three, or as in India by two before the last three; the group behind decides what the sign is.
    ".": r"\d*\.?\d*|(?:[1-9]\d{0,2}(?:([,'’ \u00a0\u2007\u2009\u202f])\d{3})(?:\1\d{3})*|[1-9]\d?(?:,\d{2})+,\d{3})(?:\.\d*)?",
    ",": r"\d*,?\d*|[1-9]\d{0,2}(?:([.'’ \u00a0\u2007\u2009\u202f])\d{3})(?:\1\d{3})*(?:,\d*)?",
}
_OPEN = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")  # a decimal number or thousands
_SCALE = {"%": 2, "‰": 3}


@dataclass(frozen=True)
class Style:
    """What else is known where a column is read: the decimal sign of the file's other columns ("" unknown), whether commas
    separate its cells, and the order of the parts of dates such as 01/02/2024 ("dmy", "mdy", "" unknown)."""

    decimal: str = ""
    commas: bool = False
    dates: str = ""


@dataclass(frozen=True)
class Reading:
    """How the cells of a column become numbers.

    kind "number": `decimal` sign, sign between `thousands`, `percent` ("%": 12% is 0.12), `currency` and `unit` that stand in
    the cells or in a row of units.  kind "date": `unit` ("days", "seconds", "months") since `origin` (ISO 8601), `order` of the
    parts ("ymd", "dmy", "mdy").  kind "clock": h:mm:ss in seconds.  kind "words": `unit` ("months", "weekdays", "yes") by name.  Made columns: kinds "derived" and "rate" (d/dt) by `formula` from
    `sources`, "lag" by `rows` of `column`, "level" 1 where `column` is `level` of those it has, `levels`.
    """

    kind: str = "number"
    decimal: str = "."
    thousands: str = ""
    percent: str = ""
    currency: str = ""
    unit: str = ""
    order: str = ""
    origin: str = ""
    formula: str = ""
    column: str = ""
    rows: int = 0
    level: str = ""
    levels: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What a person is told; "" where there is nothing to tell."""
        if self.kind == "date":
            return f"{self.unit} since {self.origin}"
        if self.kind == "clock":
            return "h:mm:ss as seconds" if self.order == "hms" else "m:ss as seconds"
        if self.kind == "words":
            from fansr.tables.words import SAID

            return SAID.get(self.unit, self.unit)
        if self.kind == "derived":
            return self.formula
        if self.kind == "rate":
            return f"{self.formula}, smoothed"
        if self.kind == "lag":
            return f"{self.column}, {self.rows} row{'s' * (self.rows > 1)} before"
        if self.kind == "level":
            return f"1 where {self.column} is {self.level}, else 0"
        parts = []
        if self.percent:
            parts.append(
                f"{'percent' if self.percent == '%' else 'per mille'}, 5{self.percent} is {0.05 if self.percent == '%' else 0.005}"
            )
        if self.currency:
            parts.append(f"in {self.currency}")
        if self.unit:
            parts.append(f"in {self.unit}")
        if self.thousands:
            parts.append(f"thousands as in 1{self.thousands}234{self.decimal}5")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, with its `text`; what has its default is left out."""
        own = {key: value for key, value in asdict(self).items() if value != getattr(Reading, key)}
        return {"kind": self.kind, **own, "text": self.text}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """Back from to_dict; keys that are unknown are passed over."""
        own = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        return cls(**{**own, "levels": tuple(own.get("levels", ())), "sources": tuple(own.get("sources", ()))})


PLAIN = Reading()


class Column(NamedTuple):
    """One column read: `values` (M,) float64 with NaN where a cell is no number, the rows of cells that are `bad`, the
    `reading` (None for plain numbers and for text), the `cause` why cells that look like numbers are none, and warnings `said`."""

    values: np.ndarray
    bad: list[int]
    reading: Reading | None = None
    cause: str = ""
    said: tuple[str, ...] = ()


class Scanned(NamedTuple):
    """The parts of a cell: digits and what separates them in `core`, the `mark` around it and what kind of mark it is."""

    negative: bool
    core: str
    power: int
    kind: str  # "", "percent", "money", "unit"
    mark: str


def scan(cell: str) -> Scanned | None:
    """The parts of a cell that holds one number, or None."""
    match = pattern("cell").fullmatch(cell) if len(cell) <= LONGEST else None
    if match is None or (pattern("hex").fullmatch(cell) and not cell.isdigit()):
        return None
    tail, kind, mark = (match["tail"] or "").strip(), "", ""
    if match["money"]:
        kind, mark = "money", match["money"]
    if tail:
        found = pattern("tail").fullmatch(tail)
        if found is None or kind:
            return None
        kind, mark = str(found.lastgroup), tail
        kind = next(name for name in ("percent", "money", "unit") if found[name])
    signs = match["sign"] + match["inner"]
    bracket = bool(match["open"])
    # (1,234.50) is negative in accounts; brackets around anything else are a remark or a reference.
    if (
        len(signs) > 1
        or bracket != bool(match["close"])
        or (bracket and (signs or kind != "money" and "," not in match["core"]))
    ):
        return None
    power = int((match["power"] or "0").replace("\u2212", "-").replace("\u2013", "-"))
    if all(digits(match["core"], decimal, power) is None for decimal in ".,"):
        return None
    return Scanned(bracket or (signs not in ("", "+")), match["core"], power, kind, mark)


def digits(core: str, decimal: str, power: int = 0) -> str | None:
    """The digits of `core` as Python writes them if `decimal` is its decimal sign, or None where it cannot be."""
    if pattern(decimal).fullmatch(core) is None or not any(letter.isdigit() for letter in core):
        return None
    if power and not re.fullmatch(rf"\d*[{decimal}]?\d*", core):
        return None
    whole, _, rest = core.partition(decimal)
    return f"{re.sub('[^0-9]', '', whole) or '0'}.{rest or '0'}"


def value_of(cell: Scanned, reading: Reading) -> float | None:
    """The number of a scanned cell as `reading` has it, or None where it is written otherwise."""
    text = digits(cell.core, reading.decimal, cell.power)
    if text is None:
        return None
    value = float(
        f"{text}e{cell.power - (_SCALE[cell.mark] if cell.kind == 'percent' else 0)}"
    )  # exact: a shift of digits
    return -value if cell.negative else value


def votes(cells: Sequence[str]) -> Counter:
    """How many cells can only be read with "." and how many only with "," as decimal sign."""
    found: Counter = Counter()
    for cell in cells:
        scanned = scan(cell.strip()) if "." in cell or "," in cell else None
        if scanned is not None:
            can = [sign for sign in ".," if digits(scanned.core, sign, scanned.power) is not None]
            found.update(can if len(can) == 1 else ())
    return found


def missing(cell: Any) -> bool:
    """Whether a cell is empty or one of the words for that."""
    if isinstance(cell, str):
        return cell.strip() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or str(cell).strip() in ("<NA>", "NaT")


def plain(cells: Sequence[str]) -> np.ndarray | None:
    """float64 (M,) of cells that are plain numbers, missing, or true and false throughout; None for any other column."""
    try:
        if any("_" in cell for cell in cells):  # 1_000 is Python's spelling, no table's
            raise ValueError
        return np.array([float(cell) for cell in cells])
    except ValueError:
        pass
    values, words = np.full(len(cells), np.nan), False
    cells = [cell.strip() for cell in cells]
    for m, cell in enumerate(cells):
        if cell in MISSING:
            continue
        words |= cell in TRUE or cell in FALSE
        try:
            values[m] = float(cell if "_" not in cell else "?")
        except ValueError:
            break
    else:
        return values
    if words and all(cell in TRUE or cell in FALSE or cell in MISSING for cell in cells):
        return np.array([np.nan if cell in MISSING else float(cell in TRUE) for cell in cells])
    return None


def doubtful(cells: Sequence[str]) -> bool:
    """Whether plain numbers may be thousands: 6.070 beside 301, where decimals would read 6.07 or 301.000."""
    some = [cell.strip() for cell in cells[:200]]
    return (
        any(_OPEN.fullmatch(cell) and cell.endswith("0") for cell in some)
        and all(_OPEN.fullmatch(cell) or re.fullmatch(r"\d{1,3}", cell) or cell in MISSING for cell in some)
        and any(cell.isdigit() for cell in some)
    )


def read(
    cells: Sequence[Any], style: Style, where: Callable[[int], str] = lambda m: f"row {m + 1}", unit: str = ""
) -> Column:
    """A column of text, numbers and dates mixed, read by what most of its cells are.

    `where` names a row for messages, `unit` is what a row of units says of the column.  A column of which more cells are
    unreadable than read is text; its `cause` says why where its cells look like numbers or dates.
    """
    from fansr.tables import dates, words

    texts = [_text(cell) for cell in cells]
    present = [m for m, text in enumerate(texts) if text not in MISSING]
    if not present:
        return Column(np.full(len(cells), np.nan), [])
    if all(texts[m] in TRUE or texts[m] in FALSE for m in present):
        values = np.full(len(cells), np.nan)
        values[present] = [texts[m] in TRUE for m in present]
        return Column(values, [])
    scanned = {m: found for m in present if (found := scan(texts[m])) is not None}
    if 2 * len(scanned) >= len(present):
        return _read_numbers(texts, present, scanned, style, where, unit)
    column = words.read(texts, present) or dates.read(texts, present, style, where)
    if column is not None:
        return column
    return _finish(texts, present, {m: value for m in present if (value := number(texts[m])) is not None}, None)


def apply(reading: Reading, cells: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Values (M,) of new cells read as the law's own column was, and the rows of those that cannot be."""
    from fansr.tables import dates, words

    texts = [_text(cell) for cell in cells]
    present = [m for m, text in enumerate(texts) if text not in MISSING]
    if reading.kind in ("date", "clock"):
        values = dates.apply(texts, present, reading)
    elif reading.kind == "words":
        values = words.apply(texts, present, reading)
    else:
        values = {}
        for m in present:
            found = scan(texts[m])
            value = None
            if found is not None and fits(found, reading):
                value = value_of(found, reading)
                # 0.5 is plain even where the law's own column had decimal commas, or no decimals at all.
                value = (
                    value_of(found, replace(reading, decimal="." if reading.decimal == "," else ","))
                    if value is None
                    else value
                )
            value = number(texts[m]) if value is None and found is None else value
            if value is not None:
                values[m] = value
    done = _finish(texts, present, values, None)
    return done.values, done.bad


def fits(cell: Scanned, reading: Reading) -> bool:
    """Whether the mark of a cell is the column's, or says what the column left open; a cell without one has the column's."""
    wanted = {"": "", "percent": reading.percent, "money": reading.currency, "unit": reading.unit}[cell.kind]
    return not wanted or cell.mark == wanted


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, datetime.datetime | datetime.date):
        return str(cell)
    if cell is None or missing(cell):
        return ""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    if isinstance(cell, float | np.floating):
        return repr(float(cell))
    return str(cell)[: 4 * LONGEST]


def number(text: str) -> float | None:
    """A cell that Python reads as a number; None of any other."""
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _finish(
    texts: Sequence[str], present: list[int], values: dict[int, float], reading: Reading | None, said=()
) -> Column:
    """Values in their places; a column of which too little was read has none."""
    array = np.full(len(texts), np.nan)
    if values:
        array[list(values)] = list(values.values())
    bad = [m for m in present if m not in values]
    if len(bad) > len(values) or not values:
        return Column(np.full(len(texts), np.nan), list(present))
    return Column(array, bad, None if reading == PLAIN else reading, "", tuple(said))


def _refused(texts: Sequence[str], present: list[int], cause: str) -> Column:
    return Column(np.full(len(texts), np.nan), list(present), None, cause)


def _read_numbers(texts, present, scanned, style: Style, where, unit: str) -> Column:
    said: list[str] = []
    marks: dict[str, Counter] = {"percent": Counter(), "money": Counter(), "unit": Counter()}
    for cell in scanned.values():
        if cell.kind:
            marks[cell.kind][cell.mark] += 1
    place = {(cell.kind, cell.mark): m for m, cell in reversed(scanned.items())}
    n = len(scanned)

    def two(kind: str) -> str:
        (a, _), (b, _) = marks[kind].most_common(2)
        m, k = sorted((place[kind, a], place[kind, b]))
        return f"{texts[m]} in {where(m)} but {texts[k]} in {where(k)}"

    chosen = dict.fromkeys(marks, "")
    for kind, counts in marks.items():
        if kind == "money" and counts or 2 * sum(counts.values()) > n:
            chosen[kind] = counts.most_common(1)[0][0]
            if len(counts) > 1 and 10 * counts.most_common(2)[1][1] > n:  # more than a slip
                return _refused(
                    texts, present, f"{two(kind)}: write all cells in one {'currency' if kind == 'money' else 'unit'}"
                )
    bare = [m for m, cell in scanned.items() if not cell.kind]
    if chosen["percent"]:
        odd = [m for m in bare if re.sub("[.,0]", "", scanned[m].core)]
        if odd:
            m = place["percent", chosen["percent"]]
            cause = f"{texts[m]} in {where(m)} but {texts[odd[0]]} in {where(odd[0])}: write all cells with the sign or none"
            return _refused(texts, present, cause)
    if chosen["unit"] and bare:
        said.append(
            f"{len(bare)} cells without a unit, the first in {where(bare[0])}, were taken to be in {chosen['unit']}"
        )
    reading = Reading(percent=chosen["percent"], currency=chosen["money"], unit=chosen["unit"] or unit)
    good = {m: cell for m, cell in scanned.items() if _wanted(cell, chosen)}
    decimal, doubt = _decimal([cell for cell in good.values()], style)
    if doubt:
        m = next(m for m, cell in good.items() if _OPEN.fullmatch(cell.core))
        meant, other = (
            float(digits(good[m].core, sign) or "nan") for sign in (decimal, "," if decimal == "." else ".")
        )
        said.append(f"{texts[m]} in {where(m)} was read as {meant:.12g} {doubt}; if {other:.12g} is meant, write it so")
    grouped = [re.sub(r"[0-9]", "", cell.core.partition(decimal)[0])[:1] for cell in good.values()]
    thousands = next((sign for sign in grouped if sign), "")
    reading = Reading(
        decimal=decimal, thousands=thousands, percent=reading.percent, currency=reading.currency, unit=reading.unit
    )
    values = {m: value for m, cell in good.items() if (value := value_of(cell, reading)) is not None}
    for m in present:  # infinities, and what only float reads
        if m not in values and m not in scanned and (value := number(texts[m])) is not None:
            values[m] = value
    return _finish(texts, present, values, reading, said)


def _wanted(cell: Scanned, chosen: dict[str, str]) -> bool:
    return not cell.kind or cell.mark == chosen[cell.kind]


def _decimal(cells: list[Scanned], style: Style) -> tuple[str, str]:
    """The decimal sign of a column, and how it was read where that is open, in words ("" where it is not)."""
    own: Counter = Counter()
    open_cells, whole = [], []
    for cell in cells:
        if "." not in cell.core and "," not in cell.core:
            whole.append(cell.core)
            continue
        can = [sign for sign in ".," if digits(cell.core, sign, cell.power) is not None]
        if len(can) == 1:
            own[can[0]] += 1
        elif can:
            open_cells.append(cell.core)
    if own["."] != own[","]:
        return max(".,", key=own.__getitem__), ""
    if style.decimal:
        return style.decimal, ""
    if not open_cells:
        return ".", ""
    sign = "." if "." in open_cells[0] else ","
    other = "," if sign == "." else "."
    if any(len(core) > 3 and core.isdigit() for core in whole):  # 5678 beside 1.234: thousands would be written 5.678
        return sign, ""
    if whole and any(core.endswith("0") for core in open_cells):  # 6.070 beside 301: decimals would be 6.07 or 301.000
        return other, "(thousands, since whole numbers stand beside it)"
    if sign == ",":
        return (".", "(thousands)") if style.commas else (",", "(decimal comma)")
    return ".", "(decimal point)" if whole else ""
