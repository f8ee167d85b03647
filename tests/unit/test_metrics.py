"""The way out of the numbers: a port that cannot be had is told as what it is."""

from __future__ import annotations

import socket

import pytest
from prometheus_client import CollectorRegistry

from engine import metrics
from engine.errors import Unusable


def test_a_metrics_port_in_use_is_told_with_its_place() -> None:
    with socket.create_server((metrics.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unusable, match="in use") as refused:
            metrics.serve(port, CollectorRegistry())
    assert refused.value.where == f"127.0.0.1:{port}"
    assert "--metrics-port" in refused.value.hint


def test_a_number_that_is_not_known_is_absent_and_never_zero() -> None:
    registry = CollectorRegistry()
    meters = metrics.WatchMeters(registry)

    def shown(name: str) -> float | None:
        return registry.get_sample_value(name, {"flow": "acme.orders"})

    meters.overdue("acme.orders", None)
    assert shown(metrics.FEED_OVERDUE) is None
    meters.overdue("acme.orders", 0.0)
    meters.lag("acme.orders", source_s=1.5, records=7, kafka_s=None)
    assert [shown(name) for name in (metrics.FEED_OVERDUE, metrics.SOURCE_LAG, metrics.KAFKA_RECORDS)] == [
        0.0, 1.5, 7.0,
    ]  # fmt: skip
    assert shown(metrics.KAFKA_LAG) is None
    meters.overdue("acme.orders", 90.0)
    assert shown(metrics.FEED_OVERDUE) == 90.0
    meters.overdue("acme.orders", None)
    assert shown(metrics.FEED_OVERDUE) is None


def test_a_metrics_port_that_is_none_is_told() -> None:
    with pytest.raises(Unusable):
        metrics.serve(70_000, CollectorRegistry())
