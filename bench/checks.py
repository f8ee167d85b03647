"""Twenty checks of the bench's table, of every kind; in one form all rows meet them, in the other most do.

Rule: both forms cost a clean row the same: they differ in literals only. Which rows fail is said here, so
that what has to land is known without asking the engine.
"""

from __future__ import annotations

from typing import Final

from bench.change import STATES
from bench.tally import Plain
from engine.checks import Check, Expression, Length, NotNull, OneOf, OnFail, Pattern, Range

PLAIN: Final = "parcel"
CLEAN: Final = "clean"
FAILING: Final = "failing"
_EVERY: Final = 300  # rows by id: three of so many fail a check each
_KEPT: Final[tuple[Check, ...]] = (
    Check("id_given", OnFail.QUARANTINE, NotNull(("id", "customer", "updated_at"))),
    Check("id_range", OnFail.QUARANTINE, Range(("id",), 1, 1_000_000_000)),
    Check("customer_range", OnFail.QUARANTINE, Range(("customer",), 0, 50_000)),
    Check("weight_range", OnFail.QUARANTINE, Range(("weight",), 0, 30)),
    Check("price_range", OnFail.QUARANTINE, Range(("price",), 0, 10_000)),
    Check("updated_range", OnFail.QUARANTINE, Range(("updated_at",), "2026-11-21", "2036-11-21")),
    Check("day_range", OnFail.QUARANTINE, Range(("day",), "2026-11-21", "2036-11-21")),
    Check("tracking_length", OnFail.QUARANTINE, Length(("tracking",), 13, 13)),
    Check("status_length", OnFail.QUARANTINE, Length(("status",), 3, 20)),
    Check("address_length", OnFail.QUARANTINE, Length(("address",), 5, 200)),
    Check("tracking_form", OnFail.QUARANTINE, Pattern(("tracking",), "FR[0-9]{11}")),
    Check("status_known", OnFail.QUARANTINE, OneOf(("status",), STATES)),
    Check("price_cents", OnFail.WARN, Expression("price * 100 % 1 = 0")),
    Check("day_of_update", OnFail.QUARANTINE, Expression("date(updated_at) >= day")),
    Check("tracking_prefix", OnFail.DROP, Expression("tracking LIKE 'FR%'")),
    Check("express_weight", OnFail.QUARANTINE, Expression("NOT express OR weight < 30")),
    Check("address_trimmed", OnFail.WARN, Expression("trim(address) = address")),
)


def of(table: str) -> tuple[Check, ...]:
    """The checks of a table, by the first word of its name."""
    kind = table.partition("_")[0]
    if kind == PLAIN:
        return ()
    wrong = range(3) if kind == FAILING else range(_EVERY, _EVERY + 3)
    made = (
        Check(f"id_sound_{n}", OnFail.QUARANTINE, Expression(f"id % {_EVERY} <> {rest}"))
        for n, rest in enumerate(wrong)
    )
    return (*_KEPT, *made)


def meets(row: Plain) -> bool:
    """Whether a row meets the checks in the form that some rows fail."""
    return bool(row[1] % _EVERY > 2)
