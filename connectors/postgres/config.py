"""What a PostgreSQL connection needs to be told, and nothing that it can work out itself.

Rule: strict and frozen; an unknown key is an author's mistake. Derived names (slot, publication, project,
connection) are filled in by the plan. The password is a value only here, and only at open.
"""

from __future__ import annotations

import ipaddress
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]

_IDENTIFIER_BYTES = 63


class PostgresConfig(BaseModel):
    """One PostgreSQL database, as one capture sees it.

    ``sslmode`` is ``prefer`` on loopback and ``verify-full`` elsewhere, unless it is given.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    host: str = Field(min_length=1)
    port: int = Field(default=5432, ge=1, le=65535)
    database: str = Field(min_length=1)
    user: str = Field(min_length=1)
    password: SecretStr | None = None
    sslmode: SslMode | None = None
    sslrootcert: str | None = None
    heartbeat_s: float = Field(default=30.0, gt=0)
    project: str = ""
    connection: str = ""
    slot: str = Field(default="", max_length=_IDENTIFIER_BYTES, pattern=r"^[a-z0-9_]*$")
    publication: str = Field(default="", max_length=_IDENTIFIER_BYTES)

    @model_validator(mode="after")
    def _one_host(self) -> Self:
        # libpq reads a comma as a list of hosts and a leading slash as a socket folder
        if "," in self.host:
            raise ValueError("host names one server")
        return self

    @property
    def tls(self) -> SslMode:
        """The sslmode that holds."""
        return self.sslmode or ("prefer" if _loopback(self.host) else "verify-full")

    @property
    def where(self) -> str:
        """The place that errors name: no secret in it."""
        name = f"{self.connection} " if self.connection else ""
        return f"{name}({self.user}@{self.host}:{self.port}/{self.database})"


def _loopback(host: str) -> bool:
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
