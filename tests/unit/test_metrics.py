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


def test_a_metrics_port_that_is_none_is_told() -> None:
    with pytest.raises(Unusable):
        metrics.serve(70_000, CollectorRegistry())
