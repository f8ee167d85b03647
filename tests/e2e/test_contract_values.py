"""The SQL of contracts, asked of Spark: each text has the value that Python gives it, or none."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Exact
from typing import Any, Final

import pytest

from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth
from engine.lake import values
from engine.schema import Boolean, Decimal, Float32, Float64, Int32, Int64, String
from tests.support.contracts import EXACT, columns_of, spoiled, worth, written

pytestmark = [pytest.mark.spark, pytest.mark.stack]

PARIS: Final = "Europe/Paris"
FORMATS: Sequence[tuple[str, Any]] = [
    ("decimal(10,2)", Numeric()), ("decimal(12,3)", Numeric(",", " ")), ("decimal(5,5)", Numeric(",", ".")),
    ("decimal(38,10)", Numeric(".", ",", "trailing")), ("decimal(9,0)", Numeric(".", "'")),
    ("decimal(9,2)", Numeric(implied=2)), ("decimal(9,3)", Numeric(",", "\u202f", "trailing", 1)),
    ("int", Numeric()), ("int", Numeric(",", ".")), ("bigint", Numeric(sign="trailing")),
    ("bigint", Numeric(".", ",")),
    ("double", Numeric()), ("double", Numeric(",", " ")), ("float", Numeric(",")),
    ("date", Moment("yyyy-MM-dd")), ("date", Moment("dd/MM/yyyy")), ("date", Moment("d.M.yyyy")),
    ("date", Moment("yyyyMMdd")), ("date", Moment("ddMMyy", years_from=1970)),
    ("date", Moment("d/M/yy", years_from=2000)),
    ("date", Moment("yyyy-MM-dd' 00:00:00'")),
    ("timestamp_ntz", Moment("yyyy-MM-dd HH:mm:ss")), ("timestamp_ntz", Moment("dd/MM/yyyy H:mm")),
    ("timestamp_ntz", Moment("yyyyMMddHHmmssSSSSSS")),
    ("timestamp_ntz", Moment("yyyy-MM-dd'T'HH:mm:ss.SSS")),
    ("timestamp", Moment("yyyy-MM-dd'T'HH:mm:ssXXX")), ("timestamp", Moment("yyyyMMddHHmmXX")),
    ("timestamp", Moment("dd/MM/yyyy HH:mm:ss", "UTC")),
    ("timestamp", Moment("dd/MM/yyyy HH:mm:ss", PARIS)),
    ("timestamp", Moment("dd/MM/yyyy HH:mm:ss", PARIS, "earlier")),
    ("timestamp", Moment("d/M/yyyy HH:mm:ss.SS", "America/New_York", "later")),
    ("timestamp", Moment("dd/MM/yyyy HH:mm:ss", "Australia/Lord_Howe", "later")),
    ("boolean", Truth()), ("boolean", Truth(("O", "1", "it's"), ("N", "0"))),
    ("string", Letters(4)), ("string", Letters()),
]  # fmt: skip
MORE = [
    ContractColumn("b0", "decimal(10,2)", format=Numeric(","), blank=("", "N/A", "0,00"), trim="both"),
    ContractColumn("b1", "date", format=Moment("yyyyMMdd"), blank=("00000000", "99991231"), trim="right"),
    ContractColumn("b2", "string", format=Letters(3), blank=("", "-"), trim="left"),
    ContractColumn("b3", "timestamp", format=Moment("yyyy-MM-dd HH:mm", PARIS), blank=("",), trim="both"),
]
EDGES = [
    "", " ", "-", "+", "0", "-0", "00", "1e5", "1E-400", "1e400", "-1e39", "0e999", "NaN",
    "Infinity", "0x10", "1d", "1f",
    "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
    "9223372036854775808-", "9" * 39, "0" * 500 + "1", "0" * 500 + "1,5", "1" * 500, "1.005",
    "1,005", "1 000", "1.000.000",
    "12 34,5", "0001234-", "29/02/2024", "29/02/2023", "2024-02-30", "31.4.2026", "01/01/0000",
    "0000-01-01",
    "99991231", "31/12/9999 23:59:59", "01/01/0001 00:00:00", "2026-01-01T10:00:00+18:00",
    "2026-01-01T10:00:00+18:01",
    "2026-01-01T10:00:00-00:00", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00",
    "2026-01-01T24:00:00Z",
    "2026-01-01T23:59:60Z", "\u0661\u0662", "\uff11", "true", "TRUE", "True ", "\U0001d7d9", "éàü€",
    "2026-1-5", "2026",
]  # fmt: skip


def clocks() -> list[str]:
    """Around the hours that a zone leaves out, and those that it has twice."""
    days = [datetime(2026, *md, tzinfo=UTC) for md in ((3, 29), (10, 25), (3, 8), (11, 1), (4, 5), (10, 4))]
    at = [day + timedelta(minutes=15 * n) for day in days for n in range(20)]
    forms = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M:00.50", "%Y-%m-%d %H:%M")
    return [each.strftime(form) for form in forms for each in at]


def some(column: ContractColumn, chance: random.Random) -> Any:
    """A value that the column's format can write."""
    match column.kind:
        case Decimal(precision=precision, scale=scale):
            implied = getattr(column.format, "implied", 0)
            digits = chance.randint(1, precision)
            whole = chance.randrange(10**digits)
            step = 10 ** (scale - implied) if implied else 1
            return Exact(chance.choice((1, -1)) * (whole // step * step)).scaleb(-scale, EXACT)
        case Int32():
            return chance.randint(-(2**31), 2**31 - 1) >> chance.randint(0, 31)
        case Int64():
            return chance.randint(-(2**63), 2**63 - 1) >> chance.randint(0, 63)
        case Float64() | Float32():
            return round(chance.uniform(-1e6, 1e6), chance.randint(0, 3))
        case Boolean():
            return chance.random() < 0.5
        case String():
            return chance.choice(["", "abcd", "été", "abcde", "𝟙𝟙𝟙𝟙"])
        case _:
            first = getattr(column.format, "years_from", None) or 1931
            return datetime(first, 1, 1, tzinfo=UTC) + timedelta(
                days=chance.randrange(25_000),
                seconds=chance.randrange(86_400),
                microseconds=chance.randrange(10**6),
            )


def asked(spark: Any, columns: Sequence[ContractColumn], texts: Sequence[str]) -> list[tuple[Any, ...]]:
    """What Spark says of each text, in each column."""
    frame = spark.createDataFrame([(n, text) for n, text in enumerate(texts)], "n int, t string")
    cells = frame.selectExpr("n", *(f"{values.value(c, 't')} AS c{n}" for n, c in enumerate(columns)))
    made = [values.zoned(c, f"c{n}") if values.is_zoned(c) else f"c{n}" for n, c in enumerate(columns)]
    shown = [
        f"unix_micros({text})" if c.type == "timestamp" else text
        for text, c in zip(made, columns, strict=True)
    ]
    found = cells.selectExpr("n", *(f"{text} AS c{n}" for n, text in enumerate(shown))).collect()
    return [tuple(row)[1:] for row in sorted(found)]


def micros(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return value


@pytest.fixture
def plain(spark: Any) -> Callable[[str], Any]:
    def session(compiled: str) -> Any:
        made = spark.newSession()
        made.conf.set("spark.sql.codegen.factoryMode", "CODEGEN_ONLY" if compiled == "true" else "NO_CODEGEN")
        made.conf.set("spark.sql.codegen.wholeStage", compiled)
        return made

    return session


def test_every_text_has_the_value_that_python_gives_it_or_none(plain: Callable[[str], Any]) -> None:
    chance = random.Random(5)  # noqa: S311
    columns = [*columns_of(FORMATS), *MORE]
    good = [[written(c, some(c, chance)) for _ in range(30)] for c in columns]
    texts = [*EDGES, *clocks()]
    for each in good:
        texts += each + [spoiled(text, chance) for text in each] + [f"  {each[0]} "]
    wanted = [tuple(micros(worth(column, text)) for column in columns) for text in texts]
    for compiled in ("true", "false"):
        found = asked(plain(compiled), columns, texts)
        wrong = [
            (column.type, column.format, text, got, want)
            for text, gots, wants in zip(texts, found, wanted, strict=True)
            for column, got, want in zip(columns, gots, wants, strict=True)
            if (got, type(got)) != (want, type(want))
        ]
        assert wrong == []
    # each column has values among them, and its own were not all refused
    for n, column in enumerate(columns):
        assert sum(want[n] is not None for want in wanted) >= 10, column


def test_every_value_that_is_written_in_its_format_comes_back(plain: Callable[[str], Any]) -> None:
    chance = random.Random(11)  # noqa: S311
    columns = [c for c in columns_of(FORMATS) if isinstance(c.kind, Decimal | Int32 | Int64 | Boolean)]
    made = [[some(c, chance) for _ in range(60)] for c in columns]
    for column, own in zip(columns, made, strict=True):
        found = asked(plain("true"), [column], [written(column, value) for value in own])
        assert [got for (got,) in found] == own, column
