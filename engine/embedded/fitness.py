"""Whether a landing could run on this machine: Spark's Python, a Java, the jars.

Rule: nothing is imported, made or fetched; what would be fetched at the first start is told with its size.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from engine.embedded import jars, java
from engine.source import Finding

_MB = 1_000_000


def look(cache: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What a landing needs of this machine; a machine that only looks needs none of it."""
    missing = [name for name in ("pyspark", "delta") if importlib.util.find_spec(name) is None]
    if missing:
        text = f"{' and '.join(missing)} not installed: no landing can run on this machine"
        yield Finding("warn", "spark", text, fix="pip install 'ecluse[lake]'")
    else:
        yield Finding("ok", "spark", "pyspark and delta are installed")
    which = java.which(environment)
    if which is None:
        fix = "pip install 'ecluse[embedded]', or set JAVA_HOME to a Java 21"
        yield Finding("warn", "java", "no Java 21: no landing can run on this machine", fix=fix)
    else:
        yield Finding("ok", "java", str(which))
    wanted = jars.missing_bytes(("spark",), cache)
    if wanted:
        size = sum(wanted.values()) / _MB
        yield Finding("ok", "jars", f"about {size:.0f} MB are fetched into {cache} at the first start")
    else:
        yield Finding("ok", "jars", f"whole, in {cache}")
