"""Write the reference pages that are made from the code: ``make docs``."""

import importlib
import pkgutil
from pathlib import Path

import connectors
import engine
from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from engine import errors
from engine.template import reference

HEAD = """# Error codes

Every error has a code, a place, a cause and the next command to type. `retry` passes by itself, `operator`
waits for a person who runs the systems, `author` for one who writes templates and flows, and `bug` is ours.

"""

for package in (engine, connectors):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
FEEDS = """# A partner's files: what is declared

A connection of type `files` says where files are, and a flow what they are. The templates `partner_csv`,
`partner_fixed_width`, `partner_jsonl` and `partner_xml` have a parameter for most of what a flow says:
`files` is its `pattern`, `layout` its format. Where a map may stand, `{file: layouts/orders.yaml}` may
stand, or the path alone. Beside a column may stand its `type`, whether it is `nullable`, and the `format`
of its values: the words of a contract, which the flow then has by its layout
([contracts](contracts.md#types-in-the-layout)).

What a flow says is held against itself before a file is read. `ecluse lint` tells a control or a key that
names no column, and a contract that does ([contracts](contracts.md)); `mode: scd1` without `keys`; two
flows of one connection whose patterns fit one name, with that name. `ecluse fake` makes files of a flow
([fake](fake.md)).

"""

PAGES = {
    "errors.md": HEAD + errors.reference(),
    "feeds.md": FEEDS
    + reference.page(FilesConfig, "A connection", derived=("project", "connection"))
    + reference.page(Feed, "What a flow says: `source`").rstrip()
    + "\n",
}

if __name__ == "__main__":
    for name, text in PAGES.items():
        (Path(__file__).parent / "reference" / name).write_text(text, encoding="utf-8")
