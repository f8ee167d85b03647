"""Made-up files of a partner, from a contract: to try a flow before there is anything to try it with.

Rule: the same contract, layout and order give the same bytes; no clock, no network. What is broken in a file
is told beside it, record by record. This room does not read files and knows no connector.
"""

from engine.fake.contract import Field, Formats
from engine.fake.defects import Defect
from engine.fake.files import Made, Order, make
from engine.fake.layouts import Delimited, FixedWidth, JsonLines, Layout, Xml

__all__ = [
    "Defect",
    "Delimited",
    "Field",
    "FixedWidth",
    "Formats",
    "JsonLines",
    "Layout",
    "Made",
    "Order",
    "Xml",
    "make",
]
