"""A line between a client and a service that a test can hurt: cut, stalled, slow, or leading elsewhere.

Rule: it knows bytes and no protocol. What it is told to do, it does to every connection that is open and to
those that come; it listens on loopback and ends with its block.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_PIECE: Final = 16384
_LOOK_S: Final = 0.02
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


@dataclass
class Proxy:
    """``target`` is where new connections lead."""

    target: tuple[str, int]
    port: int = 0
    _cut_after: int | None = None
    _stalled: threading.Event = field(default_factory=threading.Event)
    _delay_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[socket.socket] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    cuts: int = 0

    def cut_after(self, count: int) -> None:
        """Reset every connection once so many more bytes have come from the service; once."""
        with self._lock:
            self._cut_after = count

    def cut(self) -> None:
        """Reset every connection now."""
        with self._lock:
            self.cuts += 1
            self._cut_after = None
            for each in self._open:
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._open.clear()

    def stall(self) -> None:
        """Hold everything back, in both directions, and close nothing: a line that is half open."""
        self._stalled.set()

    def slow(self, delay_s: float) -> None:
        """Let each piece wait."""
        self._delay_s = delay_s

    def heal(self) -> None:
        """Carry on."""
        self._delay_s = 0.0
        self._stalled.clear()

    # --- the line

    def _serve(self, listener: socket.socket) -> None:
        while not self._ended.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                service = socket.create_connection(self.target, timeout=5)
            except OSError:
                client.close()
                continue
            service.settimeout(None)
            with self._lock:
                self._open += [client, service]
            for source, sink, counted in ((client, service, False), (service, client, True)):
                threading.Thread(target=self._carry, args=(source, sink, counted), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:  # noqa: FBT001
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                while self._stalled.is_set() and not self._ended.is_set():
                    time.sleep(_LOOK_S)
                time.sleep(self._delay_s)
                if counted and self._spent(sink, piece):
                    return
                sink.sendall(piece)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _spent(self, sink: socket.socket, piece: bytes) -> bool:
        """Whether the line is cut in the middle of this piece."""
        with self._lock:
            if self._cut_after is None:
                return False
            left, self._cut_after = self._cut_after, self._cut_after - len(piece)
        if left >= len(piece):
            return False
        sink.sendall(piece[: max(0, left)])
        self.cut()
        return True


@contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    """A line to a service, on a port of its own."""
    made = Proxy((host, port))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made.port = listener.getsockname()[1]
        threading.Thread(target=made._serve, args=(listener,), daemon=True).start()  # noqa: SLF001
        try:
            yield made
        finally:
            made._ended.set()  # noqa: SLF001
            made.cut()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
