"""Made-up data of a flow, from its contract and its checks: to try it before real data exists.

Rule: the same flow, order and day give the same bytes; no clock, no network. What is broken is told beside
it, record by record, with what becomes of it. This room reads no files, knows no connector and no format.
"""

from engine.fake.contract import Field, beyond, fields_of
from engine.fake.defects import Amount, Defect, amount
from engine.fake.files import Made, Order, make
from engine.fake.values import LOCALES, Values

__all__ = [
    "LOCALES",
    "Amount",
    "Defect",
    "Field",
    "Made",
    "Order",
    "Values",
    "amount",
    "beyond",
    "fields_of",
    "make",
]
