"""The numbers that Écluse shows: their names and labels, and the way out to Prometheus.

Rule: a name stands here or nowhere; units last, in base units; no label holds a value of a row, a key or a
secret (I8). This room counts nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from engine.errors import Unusable

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
CAPTURE_READ: Final = "ecluse_snapshot_rows"
CAPTURE_PROGRESS: Final = "ecluse_snapshot_progress_ratio"
CAPTURE_WAITED: Final = "ecluse_capture_topic_waits_total"

# the landing
LANDING_BATCHES: Final = "ecluse_landing_batches_total"
LANDING_READ: Final = "ecluse_landing_read_total"
LANDING_ROWS: Final = "ecluse_landing_rows_total"
LANDING_CHECKS: Final = "ecluse_landing_check_failures_total"
LANDING_FAILURES: Final = "ecluse_landing_failures_total"
LANDING_LAG: Final = "ecluse_landing_lag_offsets"
LANDING_LANDED: Final = "ecluse_landing_last_landed_timestamp_seconds"
LANDING_COMMIT: Final = "ecluse_landing_last_commit_timestamp_seconds"
LANDING_STATE: Final = "ecluse_landing_state"

# who watches from outside
SOURCE_LAG: Final = "ecluse_source_lag_seconds"
KAFKA_RECORDS: Final = "ecluse_kafka_lag_records"
KAFKA_LAG: Final = "ecluse_kafka_lag_seconds"
FLOW_STATE: Final = "ecluse_flow_state"
FEED_OVERDUE: Final = "ecluse_feed_overdue_seconds"

LOOPBACK: Final = "127.0.0.1"


class CaptureMeters:
    """The numbers of one capture."""

    def __init__(self, capture: str, registry: CollectorRegistry) -> None:
        labels = ["capture"]
        rows = Counter(CAPTURE_ROWS, "Rows sent to topics.", [*labels, "table", "op"], registry=registry)
        size = Counter(CAPTURE_BYTES, "Bytes of record values sent.", [*labels, "table"], registry=registry)
        failures = Counter(CAPTURE_FAILURES, "Failures, by code.", [*labels, "code"], registry=registry)
        self._capture, self._rows, self._bytes, self._failures = capture, rows, size, failures
        self._read = Gauge(
            CAPTURE_READ, "Rows of a snapshot that are durable.", [*labels, "table"], registry=registry
        )
        self._progress = Gauge(
            CAPTURE_PROGRESS,
            "How much of a table its snapshot has read, by the server's estimate; absent where it has none.",
            [*labels, "table"],
            registry=registry,
        )
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

    def reading(self, table: str, rows: int, expected: int | None, *, done: bool) -> None:
        """How far the snapshot of a table is."""
        self._read.labels(self._capture, table).set(rows)
        if done or expected:
            self._progress.labels(self._capture, table).set(1.0 if done else rows / (expected or 1))

    def failed(self, code: str) -> None:
        """Count a failure that is waited out."""
        self._failures.labels(self._capture, code).inc()


class LandingMeters:
    """The numbers of a landing, flow by flow; what is not known of a flow is absent, never 0.

    ``ecluse_landing_rows_total`` counts by outcome, the ledger's terms (I4): their sum is what was read.
    ``ecluse_landing_state`` is 1 for the state that a flow is in, 0 for the others.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        into, labels = registry or CollectorRegistry(), ["flow"]
        self._batches = Counter(LANDING_BATCHES, "Batches landed.", labels, registry=into)
        self._read = Counter(LANDING_READ, "Records read.", labels, registry=into)
        self._rows = Counter(LANDING_ROWS, "What became of them.", [*labels, "outcome"], registry=into)
        self._checks = Counter(
            LANDING_CHECKS, "Rows that failed a check, whatever became of them.", [*labels, "check"],
            registry=into,
        )  # fmt: skip
        self._failures = Counter(LANDING_FAILURES, "Failures, by code.", [*labels, "code"], registry=into)
        self._lag = Gauge(LANDING_LAG, "Offsets that have not landed.", labels, registry=into)
        self._landed = Gauge(LANDING_LANDED, "When a batch last landed.", labels, registry=into)
        self._commit = Gauge(LANDING_COMMIT, "Commit time of the newest row landed.", labels, registry=into)
        self._state = Gauge(LANDING_STATE, "Whether the flow is in this state.", [*labels, "state"],
                            registry=into)  # fmt: skip

    def landed(
        self, flow: str, *, read: int, outcomes: Mapping[str, int], at_s: float, committed_s: float | None
    ) -> None:
        """Count a batch that is durable and booked."""
        self._batches.labels(flow).inc()
        self._read.labels(flow).inc(read)
        for outcome, count in outcomes.items():
            self._rows.labels(flow, outcome).inc(count)
        self._landed.labels(flow).set(at_s)
        if committed_s is not None:
            self._commit.labels(flow).set(committed_s)

    def checked(self, flow: str, checks: Mapping[str, int]) -> None:
        """Count the rows of a batch that failed each check."""
        for check, count in checks.items():
            self._checks.labels(flow, check).inc(count)

    def failed(self, flow: str, code: str) -> None:
        """Count what parked or stopped a flow."""
        self._failures.labels(flow, code).inc()

    def lag(self, flow: str, offsets: int) -> None:
        """How many offsets wait."""
        self._lag.labels(flow).set(offsets)

    def state(self, flow: str, now: str, states: Iterable[str]) -> None:
        """Which of all states a flow is in."""
        for state in states:
            self._state.labels(flow, state).set(state == now)


class WatchMeters:
    """The numbers of whoever looks at the flows of a project from outside; an unknown one is absent, never 0.

    ``ecluse_flow_state`` is 1 for the state that a flow is in, 0 for the others.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, what: str, *more: str) -> Gauge:
            return Gauge(name, what, ["flow", *more], registry=registry)

        self._source = gauge(SOURCE_LAG, "Age of the oldest change that is not in Kafka.")
        self._records = gauge(KAFKA_RECORDS, "Records that have not landed.")
        self._kafka = gauge(KAFKA_LAG, "Age of the oldest record that has not landed.")
        self._state = gauge(FLOW_STATE, "Whether the flow is in this state.", "state")
        self._overdue = gauge(FEED_OVERDUE, "How long ago its next file was due; 0 where it is not yet.")

    def lag(self, flow: str, *, source_s: float | None, records: int | None, kafka_s: float | None) -> None:
        """How far behind a flow is."""
        for gauge, value in ((self._source, source_s), (self._records, records), (self._kafka, kafka_s)):
            _show(gauge, flow, value)

    def state(self, flow: str, now: str, states: Iterable[str]) -> None:
        """Which of all states a flow is in."""
        for state in states:
            self._state.labels(flow, state).set(state == now)

    def overdue(self, flow: str, seconds: float | None) -> None:
        """How long a flow that expects files has waited for one that is due."""
        _show(self._overdue, flow, seconds)


def _show(gauge: Gauge, flow: str, value: float | None) -> None:
    if value is None:
        gauge.remove(flow)
    else:
        gauge.labels(flow).set(value)


def serve(port: int, registry: CollectorRegistry, *, host: str = LOOPBACK) -> None:
    """Show the registry at ``/metrics`` until the process ends."""
    try:
        start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as error:
        raise Unusable(
            f"metrics cannot be shown: {error}",
            where=f"{host}:{port}",
            hint=f"ss -ltnp 'sport = :{port}' shows who listens there; or give another --metrics-port",
        ) from error
