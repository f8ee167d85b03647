"""A second reading of contracts, with Python's own numbers, days and zones: what a text is worth, or nothing.

Rule: it walks a text character by character, and shares no expression with the engine.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context
from decimal import Decimal as Exact
from typing import Any, Final
from zoneinfo import ZoneInfo

from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth
from engine.schema import Date, Decimal, Float32, Float64, Int32, Int64, Timestamp, Type

EXACT: Final = Context(prec=1_000)
DIGITS: Final = frozenset("0123456789")
_BITS: Final = {Int32: 31, Int64: 63}


def worth(column: ContractColumn, text: str) -> Any:
    """The value of a text; None where it has none, or stands for none."""
    left = text.lstrip(" ") if column.trim in ("left", "both") else text
    said = left.rstrip(" ") if column.trim in ("right", "both") else left
    if said in column.blank:
        return None
    match column.format:
        case Letters(length=length):
            return said if length is None or len(said) <= length else None
        case Truth(yes=yes, no=no):
            return True if said in yes else False if said in no else None
        case Numeric() as format_:
            return _number(said, format_, column.kind)
        case format_:
            return _moment(said, format_, column.kind)


def refused(column: ContractColumn, text: str) -> bool:
    """Whether there is a text, and it has no value."""
    trims = {"none": text, "left": text.lstrip(" "), "right": text.rstrip(" "), "both": text.strip(" ")}
    return worth(column, text) is None and trims[column.trim] not in column.blank


def _number(text: str, how: Numeric, type_: Type) -> Any:
    sign, body = "", text
    if how.sign == "leading" and body[:1] in ("+", "-"):
        sign, body = body[0], body[1:]
    elif how.sign == "trailing" and body[-1:] in ("+", "-"):
        sign, body = body[-1], body[:-1]
    power = ""
    if isinstance(type_, Float32 | Float64):
        for letter in "eE":
            if letter in body:
                body, _, power = body.partition(letter)
                digits = power[1:] if power[:1] in ("+", "-") else power
                if not digits or len(digits) > 3 or not DIGITS.issuperset(digits):
                    return None
    whole, mark, behind = (body, "", "") if how.implied else body.partition(how.decimal)
    if how.thousands and how.thousands in whole:
        first, *groups = whole.split(how.thousands)
        if not 1 <= len(first) <= 3 or any(len(group) != 3 for group in groups):
            return None
        whole = first + "".join(groups)
    if not whole or (mark and not behind) or not DIGITS.issuperset(whole + behind):
        return None
    number = Exact(f"{sign}{whole}.{behind or '0'}e{int(power or 0) - how.implied}")
    return _fitting(number, len(behind), type_)


def _fitting(number: Exact, behind: int, type_: Type) -> Any:
    match type_:
        case Decimal(precision=precision, scale=scale):
            return (
                number if behind <= scale and number.copy_abs() < Exact(10) ** (precision - scale) else None
            )
        case Float64() | Float32():
            found = float(number)
            if isinstance(type_, Float32) and abs(found) < 3.4028236e38:
                found = struct.unpack("f", struct.pack("f", found))[0]
            elif isinstance(type_, Float32):
                return None
            return None if math.isinf(found) or (found == 0 and number != 0) else found
        case _:
            limit = 1 << _BITS[type(type_)]
            return int(number) if not behind and -limit <= number < limit else None


def tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """The letters of a pattern, and its literals."""
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "'":
            end = pattern.index("'", end)
            while pattern[end + 1 : end + 2] == "'" and end > at + 1:
                end = pattern.index("'", end + 2)
            yield "", pattern[at + 1 : end].replace("''", "'") or "'"
            at = end + 1
            continue
        while pattern[at].isalpha() and pattern[end : end + 1] == pattern[at]:
            end += 1
        yield (pattern[at:end], "") if pattern[at].isalpha() else ("", pattern[at:end])
        at = end


def _moment(text: str, how: Moment, type_: Type) -> Any:
    said: dict[str, str] = {}
    for letters, literal in tokens(how.pattern):
        if literal:
            if not text.startswith(literal):
                return None
            text = text.removeprefix(literal)
            continue
        width = len(letters)
        if letters[0] == "X":
            width = len(text)
        elif width == 1 and letters != "S" and text[1:2] in DIGITS and text[1:2]:
            width = 2
        piece, text = text[:width], text[width:]
        if letters[0] != "X" and (len(piece) < width or not DIGITS.issuperset(piece)):
            return None
        said[letters[0]] = piece
        if letters == "yy":
            year = int(piece) + (how.years_from or 0) // 100 * 100
            said["y"] = str(year if year >= (how.years_from or 0) else year + 100)
        if letters[0] == "X":
            colon = len(letters) == 3
            good = piece == "Z" or (piece[:1] in ("+", "-") and len(piece) == 5 + colon)
            if not good or (piece != "Z" and colon and piece[3] != ":"):
                return None
    return None if text else _instant(said, how, type_)


def _instant(said: dict[str, str], how: Moment, type_: Type) -> Any:
    try:
        day = date(int(said["y"]), int(said["M"]), int(said["d"]))
        if isinstance(type_, Date):
            return day
        micros = int(said.get("S", "0").ljust(6, "0"))
        clock = datetime(  # noqa: DTZ001 - what a clock shows
            day.year, day.month, day.day, int(said["H"]), int(said["m"]), int(said.get("s", 0)), micros
        )
        if not isinstance(type_, Timestamp):
            return clock
        if "X" in said:
            return clock.replace(tzinfo=_offset(said["X"])).astimezone(UTC)
        zone = ZoneInfo(how.zone)
        folds = {clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        right = sorted(each for each in folds if each.astimezone(zone).replace(tzinfo=None) == clock)
    except (ValueError, OverflowError):
        return None
    if len(right) > 1:
        return {"refuse": None, "earlier": right[0], "later": right[-1]}[how.overlap]
    return right[0] if right else None


def _offset(text: str) -> timezone:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    if not DIGITS.issuperset(digits) or int(digits[2:]) > 59:
        raise ValueError(text)
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if span > timedelta(hours=18):
        raise ValueError(text)
    return timezone(-span if text[0] == "-" else span)


# --- texts to read ---------------------------------------------------------------------------------------


def written(column: ContractColumn, value: Any) -> str:
    """A value in its column's format: what a partner would write."""
    match column.format:
        case Letters():
            return str(value)
        case Truth(yes=yes, no=no):
            return yes[0] if value else no[0]
        case Numeric() as how:
            return _figures(value, how, column.kind)
        case how:
            return "".join(literal or _piece(letters, value) for letters, literal in tokens(how.pattern))


def _figures(value: Any, how: Numeric, type_: Type) -> str:
    if isinstance(value, float):
        body, behind = (
            f"{abs(value)!r}".partition(".")[::2] if "e" not in repr(value) else (f"{abs(value):.0f}", "")
        )
    else:
        exact = Exact(value).copy_abs()
        if how.implied:
            exact = exact.scaleb(how.implied, EXACT)
        scale = type_.scale if isinstance(type_, Decimal) and not how.implied else 0
        body, _, behind = f"{exact:.{scale}f}".partition(".")
    if how.thousands:
        body = f"{int(body):,}".replace(",", how.thousands)
    text = f"{body}{how.decimal}{behind}" if behind else body
    sign = "-" if value < 0 else ""
    return text + sign if how.sign == "trailing" else sign + text


def _piece(letters: str, value: Any) -> str:
    parts = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}
    match letters[0]:
        case "S":
            return f"{value.microsecond:06d}"[: len(letters)]
        case "X":
            return "Z"
        case letter:
            return f"{getattr(value, parts[letter]):0{len(letters)}d}"[-max(2, len(letters)) :]


_NOISE: Final = [*"0123456789+-.,' eEZ:/TX\n\t\0", "\u00a0", "\u202f", "\u0663", "\ud7ff", "𝟙"]


def spoiled(text: str, chance: random.Random) -> str:
    """The text with something taken out, put in or changed."""
    for _ in range(chance.randint(1, 2)):
        at = chance.randint(0, len(text))
        cut = at + chance.choice((0, 1, 1))
        text = text[:at] + chance.choice(["", *_NOISE]) + text[cut:]
    return text


def columns_of(formats: Sequence[tuple[str, Any]], **more: Any) -> list[ContractColumn]:
    """Columns of types and formats, by number."""
    return [ContractColumn(f"c{n}", type_, format=how, **more) for n, (type_, how) in enumerate(formats)]
