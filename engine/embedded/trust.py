"""The certificates that Java trusts: the ones that Python trusts here.

Rule: a machine that reaches the network through its own certificate authority has told the system (and so
Python) about it, but not the Java runtime of a wheel. The same for a proxy. This room writes one key store
in Java's own format, with certificates only: nothing in it is secret.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_MAGIC: Final = 0xFEEDFEED
_VERSION: Final = 2
_TRUSTED: Final = 2
_PASSWORD: Final = "changeit"  # noqa: S105 Java's own default; what it seals is public
_SALT: Final = b"Mighty Aphrodite"  # a constant of the format


def java_options(folder: Path, proxies: Mapping[str, str]) -> tuple[str, ...]:
    """JVM options under which Java reaches the network as Python does; the key store goes to ``folder``."""
    certificates = _certificates()
    options = list(_proxy_options(proxies))
    if certificates:
        folder.mkdir(parents=True, exist_ok=True)
        store = key_store(certificates)
        path = folder / f"trust-{hashlib.sha256(store).hexdigest()[:12]}.jks"
        if not path.is_file():
            draft = path.with_name(f".{path.name}-{os.getpid()}")  # another process may write the same now
            draft.write_bytes(store)
            draft.replace(path)
        options += [
            f"-Djavax.net.ssl.trustStore={path}",
            "-Djavax.net.ssl.trustStoreType=JKS",
            f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}",
        ]
    return tuple(options)


def key_store(certificates: list[bytes]) -> bytes:
    """The certificates (DER) as a Java key store.

    >>> key_store([])[:12].hex()
    'feedfeed0000000200000000'
    """
    body = struct.pack(">III", _MAGIC, _VERSION, len(certificates))
    for number, certificate in enumerate(certificates):
        body += struct.pack(">I", _TRUSTED) + _utf(f"c{number}") + struct.pack(">Q", 0)
        body += _utf("X.509") + struct.pack(">I", len(certificate)) + certificate
    seal = hashlib.sha1(_PASSWORD.encode("utf-16-be") + _SALT + body, usedforsecurity=False)
    return body + seal.digest()


def _utf(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _certificates() -> list[bytes]:
    context = ssl.create_default_context()
    found = context.get_ca_certs(binary_form=True)
    if not found:
        # OpenSSL reads a folder of certificates one by one, when it needs them; here they are read at once
        folder = ssl.get_default_verify_paths().capath
        for path in sorted(Path(folder).glob("*.pem")) if folder else ():
            context.load_verify_locations(cafile=str(path))
        found = context.get_ca_certs(binary_form=True)
    return sorted(found)


def _proxy_options(proxies: Mapping[str, str]) -> list[str]:
    """A proxy in Java's words.

    >>> _proxy_options({"https": "http://proxy.example.org:3128", "no": "localhost,.example.org"})[:2]
    ['-Dhttps.proxyHost=proxy.example.org', '-Dhttps.proxyPort=3128']
    """
    options = []
    for scheme in ("https", "http"):
        address = urlsplit(proxies.get(scheme, ""))
        if address.hostname:
            options += [
                f"-D{scheme}.proxyHost={address.hostname}",
                f"-D{scheme}.proxyPort={address.port or 80}",
            ]
    hosts = [host.strip() for host in proxies.get("no", "").split(",") if host.strip()]
    if options and hosts:
        patterns = "|".join(f"*{host}" if host.startswith(".") else host for host in hosts)
        options.append(f"-Dhttp.nonProxyHosts={patterns}")
    return options
