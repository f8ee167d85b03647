"""Write the reference pages that are made from the code: ``make docs``."""

import importlib
import pkgutil
from pathlib import Path

import connectors
import engine
from engine import errors

HEAD = """# Error codes

Every error has a code, a place, a cause and the next command to type. `retry` passes by itself, `operator`
waits for a person who runs the systems, `author` for one who writes templates and flows, and `bug` is ours.

"""

for package in (engine, connectors):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
(Path(__file__).parent / "reference" / "errors.md").write_text(HEAD + errors.reference(), encoding="utf-8")
