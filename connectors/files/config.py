"""What a connection to a partner's files needs to be told: where files are dropped, and where they go.

Rule: strict and frozen; an unknown key is an author's mistake. Derived names (project, connection) are
filled in by the plan. Secrets are values only here, and only at open. A folder below ``root`` stays below.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)


def _below(folder: str) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts or "\0" in folder:
        raise ValueError("a folder below the root: relative, and without ..")
    return str(path)


Below = Annotated[str, AfterValidator(_below)]
"""A folder below the connection's root."""


class FilesConfig(BaseModel):
    """One place where partners drop files: a folder of this machine, or one of an SFTP server.

    ``root`` of this machine and ``staging`` may be relative to the project. ``host_key`` is the server's key
    as ``known_hosts`` has it (``ssh-ed25519 AAAA…``): another is refused. Copies of at most
    ``staging_max_bytes`` lie in ``staging``, a folder of this machine and of this connection alone (one
    of its own below the folder for temporary files, if none is named), while they are read. ``poll_s`` is how
    often the folders are listed, in seconds.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    protocol: Literal["local", "sftp"] = "local"
    root: str = Field(min_length=1)
    host: str | None = None
    port: int = Field(default=22, ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = None
    private_key: SecretStr | None = None
    host_key: str | None = None
    staging: str = Field(default="", max_length=4096)
    staging_max_bytes: int = Field(default=50 * 2**30, ge=2**20)
    archive: Below = "archive"
    errors: Below = "errors"
    poll_s: float = Field(default=5.0, gt=0)
    project: str = ""
    connection: str = ""

    @field_validator("root", "staging")
    @classmethod
    def _of_the_project(cls, path: str, known: ValidationInfo) -> str:
        """A folder of this machine is relative to the project, wherever a worker was started."""
        folder = (known.context or {}).get("folder")
        far = known.field_name == "root" and known.data.get("protocol") == "sftp"
        return str(PurePosixPath(folder) / path) if folder and path and not far else path

    @model_validator(mode="after")
    def _whole(self) -> Self:
        server = {"host": self.host, "user": self.user, "host_key": self.host_key}
        if self.protocol == "sftp":
            missing = [name for name, value in server.items() if not value]
            if missing:
                raise ValueError(f"an SFTP server needs {', '.join(missing)}")
            if (self.password is None) == (self.private_key is None):
                raise ValueError("an SFTP server needs a password or a private_key: one of them")
        elif any(server.values()) or self.password is not None or self.private_key is not None:
            raise ValueError("a folder of this machine has no host, user or key: say protocol: sftp")
        if self.archive == self.errors:
            raise ValueError("archive and errors are two folders")
        return self

    @property
    def where(self) -> str:
        """The place that errors name: no secret in it."""
        name = f"{self.connection} " if self.connection else ""
        server = f"{self.user}@{self.host}:{self.port}" if self.protocol == "sftp" else ""
        return f"{name}({server}{self.root})"
