"""References to secrets, and the one place where they become values.

Rule: a plan, a log, an error and a metric hold references only; ``resolve`` is called when a connection
is opened and its result goes nowhere else. A secret is a file ``secrets/<name>`` of the project (mode
0600) or the variable ``ECLUSE_SECRET_<NAME>``. This room does not read projects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from engine.errors import SecretMissing

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_READABLE_BY_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret by name; printing it shows the reference, never the value.

    >>> str(SecretRef("shop_password"))
    '${secret.shop_password}'
    """

    name: str

    def __str__(self) -> str:
        return f"${{secret.{self.name}}}"


def reference(text: str) -> SecretRef:
    """The reference that a plan holds as text.

    >>> reference("${secret.shop_password}")
    SecretRef(name='shop_password')
    """
    return SecretRef(text.removeprefix("${secret.").removesuffix("}"))


def resolve(ref: SecretRef, *, folder: Path, environment: Mapping[str, str]) -> SecretStr:
    """The value behind a reference: the project's file first, then the environment.

    Raises SecretMissing when neither is there, or when the file can be read by others.
    """
    path = folder / ref.name
    variable = f"ECLUSE_SECRET_{ref.name.upper()}"
    if path.is_file():
        if path.stat().st_mode & _READABLE_BY_OTHERS:
            raise SecretMissing(
                f"secret {ref.name} can be read by others", where=str(path), hint=f"chmod 600 {path}"
            )
        return SecretStr(path.read_text(encoding="utf-8").rstrip("\n"))
    if variable in environment:
        return SecretStr(environment[variable])
    raise SecretMissing(
        f"secret {ref.name} has no value",
        where=str(ref),
        hint=f"write it to {path} (mode 0600) or set {variable}",
    )
