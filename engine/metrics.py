"""The numbers that Écluse shows: their names and labels, and the way out to Prometheus.

Rule: a name stands here or nowhere; units last, in base units; no label holds a value of a row, a key or a
secret (I8). This room counts nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

# the capture
CAPTURE_ROWS: Final = "ecluse_capture_rows_total"
CAPTURE_BYTES: Final = "ecluse_capture_bytes_total"
CAPTURE_MARKS: Final = "ecluse_capture_marks_total"
CAPTURE_FAILURES: Final = "ecluse_capture_failures_total"
CAPTURE_WRITER: Final = "ecluse_capture_writer_epoch"
CAPTURE_COMMIT: Final = "ecluse_capture_last_commit_timestamp_seconds"
CAPTURE_CONFIRMED: Final = "ecluse_capture_last_confirm_timestamp_seconds"
CAPTURE_POSITION: Final = "ecluse_capture_position"
CAPTURE_LAG: Final = "ecluse_capture_source_lag_seconds"
CAPTURE_WAITED: Final = "ecluse_capture_topic_waits_total"

LOOPBACK: Final = "127.0.0.1"


class CaptureMeters:
    """The numbers of one capture."""

    def __init__(self, capture: str, registry: CollectorRegistry) -> None:
        labels = ["capture"]
        rows = Counter(CAPTURE_ROWS, "Rows sent to topics.", [*labels, "table", "op"], registry=registry)
        size = Counter(CAPTURE_BYTES, "Bytes of record values sent.", [*labels, "table"], registry=registry)
        failures = Counter(CAPTURE_FAILURES, "Failures, by code.", [*labels, "code"], registry=registry)
        self._capture, self._rows, self._bytes, self._failures = capture, rows, size, failures
        self.marks = Counter(CAPTURE_MARKS, "Marks confirmed.", labels, registry=registry).labels(capture)
        self.waits = Counter(
            CAPTURE_WAITED, "Times the topic made the capture wait.", labels, registry=registry
        ).labels(capture)
        gauges = {
            "writer": (CAPTURE_WRITER, "Epoch of the writer."),
            "commit": (CAPTURE_COMMIT, "Commit time of the newest transaction confirmed."),
            "confirmed": (CAPTURE_CONFIRMED, "When a mark was last confirmed."),
            "position": (CAPTURE_POSITION, "Major of the newest position confirmed."),
            "lag": (CAPTURE_LAG, "Age of the newest row when it was framed."),
        }
        made = {n: Gauge(*what, labels, registry=registry).labels(capture) for n, what in gauges.items()}
        self.writer, self.commit, self.confirmed = made["writer"], made["commit"], made["confirmed"]
        self.position, self.lag = made["position"], made["lag"]

    def sent(self, table: str, counts: Mapping[str, int], size: int) -> None:
        """Count rows by what they were, and the bytes of their records."""
        for op, count in counts.items():
            if count:
                self._rows.labels(self._capture, table, op).inc(count)
        self._bytes.labels(self._capture, table).inc(size)

    def failed(self, code: str) -> None:
        """Count a failure that is waited out."""
        self._failures.labels(self._capture, code).inc()


def serve(port: int, registry: CollectorRegistry, *, host: str = LOOPBACK) -> None:
    """Show the registry at ``/metrics`` until the process ends."""
    start_http_server(port, addr=host, registry=registry)
