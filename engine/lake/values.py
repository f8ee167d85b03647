"""From a text to the value that a contract says it has, as SQL text.

Rule: pure; NULL for a text that has no value, and nothing raises, whatever the text is. A cast is asked only
where an expression has matched, so that it has nothing left to decide: Spark's own reading of numbers rounds,
and that of dates takes more than one form. The session's zone is UTC.
"""

from __future__ import annotations

import re
from typing import Final

from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth, numbers, patterns
from engine.contract.patterns import Pattern
from engine.lake.decode import quote
from engine.schema import Float32, Float64, Timestamp, Type, delta

_TRIMS: Final = {"none": "{}", "left": "ltrim({})", "right": "rtrim({})", "both": "trim({})"}
_CANONICAL: Final = re.compile(r"yyyy-MM-dd(( |'T')HH:mm:ss(\.S{1,6})?(XXX)?)?")
_A_DAY: Final = "INTERVAL '24' HOUR"  # longer than any zone is away from UTC
_FIRST: Final = "TIMESTAMP '0001-01-01 00:00:00Z'"
_LAST: Final = "TIMESTAMP '9999-12-31 23:59:59.999999Z'"


def text(column: ContractColumn, field: str) -> str:
    """The text that counts: of a field, once it is trimmed."""
    return _TRIMS[column.trim].format(field)


def blank(column: ContractColumn, field: str) -> str:
    """Whether a text stands for no value; false where nothing does."""
    words = ", ".join(quote(word) for word in column.blank)
    return f"{text(column, field)} IN ({words})" if words else "false"


def value(column: ContractColumn, field: str) -> str:
    """The value of a field's text; for an instant of a zone, what its clock showed (see ``zoned``)."""
    said = text(column, field)
    match column.format:
        case Letters(length=None):
            found = said
        case Letters(length=length):
            found = f"if(char_length({said}) <= {length}, {said}, NULL)"
        case Truth(yes=yes, no=no):
            words = [f"WHEN {said} = {quote(word)} THEN {truth}"
                     for truth, those in (("true", yes), ("false", no)) for word in those]  # fmt: skip
            found = f"CASE {' '.join(words)} END"
        case Numeric() as format_:
            found = _number(format_, column.kind, said)
        case format_:
            found = _moment(format_, column.kind, said)
    return f"if({blank(column, field)}, NULL, {found})" if column.blank else found


def _number(format_: Numeric, type_: Type, said: str) -> str:
    fits = f"{said} RLIKE {quote(numbers.expression(format_, type_))}"
    plain = said
    if format_.thousands:
        plain = f"replace({plain}, {quote(format_.thousands)}, '')"
    if format_.decimal != ".":
        plain = f"replace({plain}, {quote(format_.decimal)}, '.')"
    if format_.sign == "trailing":
        plain = f"concat(if(endswith({said}, '-'), '-', ''), rtrim('+-', {plain}))"
    if format_.implied:
        plain = f"concat({plain}, 'e-{format_.implied}')"
    found = f"try_cast({plain} AS {delta(type_)})"
    if isinstance(type_, Float32 | Float64):
        # neither out of range nor, from a number that is not zero, into it
        zero = f"{found} = 0 AND {plain} RLIKE {quote(numbers.NONZERO)}"
        found = f"if(abs({found}) = double('Infinity') OR ({zero}), NULL, {found})"
    return f"CASE WHEN {fits} THEN {found} END"


def _moment(format_: Moment, type_: Type, said: str) -> str:
    pattern = patterns.read(format_.pattern)
    fits = f"{said} RLIKE {quote(pattern.expression)}"
    written = said if _CANONICAL.fullmatch(pattern.text) else _written(format_, pattern, said)
    found = f"try_cast({written} AS {delta(type_)})"
    if isinstance(type_, Timestamp) and "offset" in pattern:
        found = _bounded(found)
    return f"CASE WHEN {fits} THEN {found} END"


def _written(format_: Moment, pattern: Pattern, said: str) -> str:
    """The moment as Spark writes it."""

    def part(kind: str) -> str:
        known = pattern[kind]
        if known.at is None:
            return f"regexp_extract({said}, {quote(pattern.expression)}, {known.group})"
        if kind == "offset":
            return f"substring({said}, {known.at})"
        return f"substring({said}, {known.at}, {len(known.letters)})"

    pieces = [_year(format_, pattern, part("year")), "'-'", part("month"), "'-'", part("day")]
    for kind, before in (("hour", " "), ("minute", ":"), ("second", ":"), ("fraction", ".")):
        if kind in pattern:
            pieces += [quote(before), part(kind)]
        elif kind == "second" and "minute" in pattern:
            pieces.append("':00'")  # before an offset Spark wants them
    if "offset" in pattern:
        pieces.append(_offset(part("offset"), colon=pattern["offset"].letters == "XXX"))
    return f"concat({', '.join(pieces)})"


def _year(format_: Moment, pattern: Pattern, year: str) -> str:
    if pattern["year"].letters == "yyyy" or format_.years_from is None:
        return year
    century, first = divmod(format_.years_from, 100)
    return f"if({year} >= '{first:02}', '{century:02}', '{century + 1:02}'), {year}"


def _offset(offset: str, *, colon: bool) -> str:
    return offset if colon else f"if({offset} = 'Z', 'Z', concat(left({offset}, 3), ':', right({offset}, 2)))"


def is_zoned(column: ContractColumn) -> bool:
    """Whether its texts are what a clock of a zone showed."""
    format_ = column.format
    return isinstance(format_, Moment) and format_.zone not in ("", "UTC")


def zoned(column: ContractColumn, clock: str) -> str:
    """The instant at which a clock of the column's zone showed this; NULL where it never did.

    There is one candidate by the offset of the day before, and one by that of the day behind. A candidate is
    right when the clock shows at it what was read: one is, or two in the hour that comes twice, or none in
    the hour that is left out.
    """
    assert isinstance(column.format, Moment)  # noqa: S101 - ``is_zoned`` says so
    zone = quote(column.format.zone)
    one, other = (
        f"({clock} - (from_utc_timestamp({clock} {sign} {_A_DAY}, {zone}) - ({clock} {sign} {_A_DAY})))"
        for sign in "-+"
    )
    right, too = (f"from_utc_timestamp({each}, {zone}) = {clock}" for each in (one, other))
    both = {"refuse": "NULL", "earlier": f"least({one}, {other})", "later": f"greatest({one}, {other})"}
    return _bounded(
        f"CASE WHEN {one} = {other} THEN if({right}, {one}, NULL) "
        f"WHEN {right} AND {too} THEN {both[column.format.overlap]} "
        f"WHEN {right} THEN {one} WHEN {too} THEN {other} END"
    )


def _bounded(instant: str) -> str:
    """An instant of the years 1 to 9999 of UTC: what every reader of the table knows."""
    return f"CASE WHEN {instant} BETWEEN {_FIRST} AND {_LAST} THEN {instant} END"
