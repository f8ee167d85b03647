"""The JVM that Spark runs in: its words, its class path, its end.

Spark's own scripts start a JVM to put the words for another one together, and name a jar twice, with which
no archive of classes is ever taken (``archive``): so the JVM is started here.

Rule: it ends with this process: it reads our end of a pipe, and leaves when the pipe closes.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pyspark.java_gateway import launch_gateway
from pyspark.serializers import UTF8Deserializer, read_int

from engine.errors import LakeUnreachable
from engine.lake import archive

OPENS: Final = (  # what Spark reaches into, as its own launcher says it
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio",
            "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref",
            "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar",
        )
    ),
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
    "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    "--enable-native-access=ALL-UNNAMED",
    "-Dderby.connection.requireAuthentication=false",
)  # fmt: skip
_MAIN: Final = "org.apache.spark.api.python.PythonGatewayServer"
_DEAF: Final = ("/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh")  # Ctrl-C is for the process that owns it
_TOLD: Final = "_PYSPARK_DRIVER_CONN_INFO_PATH"
_PORT, _SECRET = "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"
_POLL_S: Final = 0.02


def words(java_home: Path, jars: Sequence[Path], options: Sequence[str]) -> list[str]:
    """The command line of the JVM."""
    path = os.pathsep.join(map(str, archive.class_path(jars)))
    return [str(java_home / "bin" / "java"), *options, *OPENS, "-cp", path, _MAIN]


def start(command: Sequence[str]) -> Any:
    """Start a JVM; gives pyspark's gateway to it. Raises LakeUnreachable."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "gateway"
        process = subprocess.Popen(
            [*_DEAF, *command],
            stdin=subprocess.PIPE,
            # SPARK_HOME: where Spark looks for what a worker in Python imports
            env={
                **os.environ,
                "SPARK_HOME": str(archive.spark_home()),
                "SPARK_CONNECT_MODE": "0",
                _TOLD: str(told),
            },
        )
        while not told.is_file():
            if process.poll() is not None:
                raise LakeUnreachable(
                    f"the JVM for Spark ended with {process.returncode}",
                    where=command[0],
                    hint=f"what it said stands above; does it start alone? {command[0]} -version",
                )
            time.sleep(_POLL_S)
        with told.open("rb") as file:
            port, secret = read_int(file), UTF8Deserializer().loads(file)
    gateway = _connected(str(port), secret)
    gateway.proc = process
    return gateway


def _connected(port: str, secret: str) -> Any:
    """A gateway to a JVM that runs: pyspark looks for its place among the variables."""
    os.environ.update({_PORT: port, _SECRET: secret})
    try:
        return launch_gateway()
    finally:
        for name in (_PORT, _SECRET):  # no child of ours is to know them
            del os.environ[name]
