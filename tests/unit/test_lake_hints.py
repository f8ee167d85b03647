"""What a stop says to do can be done, and helps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError
from pyspark.errors import AnalysisException

from engine.errors import EcluseError, LakeUnreachable, TopicRefused
from engine.lake import guard, halt
from engine.lake.desk import Standing
from engine.topic import KafkaTopic
from engine.topic.admin import translated
from tests.unit.test_lake_plans import FLOW


def test_a_topic_that_is_gone_is_made_again_by_its_capture_and_by_no_answer() -> None:
    standing = Standing(FLOW, "a", offsets={0: 7}, topic_id="t")
    desk = cast("Any", SimpleNamespace(topics=SimpleNamespace(topic_ids=lambda _: {})))
    commit = cast("Any", SimpleNamespace(seq=4))
    for ask in (lambda: guard.check(desk, standing, ()), lambda: guard.readable(desk, standing, commit, ())):
        with pytest.raises(EcluseError) as told:
            ask()
        assert f"ecluse run capture {FLOW.connection}" in told.value.hint
        assert "--accept-gap" not in told.value.hint


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "grant"),
        (KafkaError._AUTHENTICATION, "credentials"),  # noqa: SLF001 - the client's own codes
        (KafkaError.MSG_SIZE_TOO_LARGE, "kafka-configs.sh"),
    ],
)
def test_a_refusal_of_kafka_says_what_a_person_mends(code: int, way_out: str) -> None:
    assert way_out in translated(KafkaError(code), "t").hint


def test_options_that_the_client_does_not_take_are_named_as_the_place_to_look() -> None:
    with pytest.raises(TopicRefused) as told:
        KafkaTopic({"no.such.option": "1"}).send([])
    assert "Kafka options" in told.value.hint


def test_a_table_that_does_not_fit_any_more_is_told_from_a_lake_that_sleeps() -> None:
    def changed() -> None:
        raise AnalysisException("a column is not there")

    with pytest.raises(LakeUnreachable) as told:
        halt.run(changed, where="here")
    assert "DESCRIBE HISTORY" in told.value.hint
