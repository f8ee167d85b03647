"""What the administrative side waits for, with a cluster that comes up step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine.errors import TopicRefused, TopicUnreachable
from engine.plan import TopicPlan
from engine.topic.admin import Admin
from engine.topic.beside import TopicLook


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, int):
        future.set_exception(KafkaException(KafkaError(value)))
    else:
        future.set_result(value)
    return future


@dataclass
class Cluster:
    """A client's view: ``leaders`` gives one answer per look, and the last one from then on.

    A topic of no partitions is one that we may not see.
    """

    leaders: list[int | None]
    topics: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def describe_topics(self, names: Any, **_: Any) -> Mapping[str, Future[Any]]:
        def described(name: str) -> Any:
            parts = self.topics.get(name)
            if parts is None:
                return KafkaError.UNKNOWN_TOPIC_OR_PART
            if not parts:
                return KafkaError.TOPIC_AUTHORIZATION_FAILED
            return SimpleNamespace(topic_id=name, partitions=[SimpleNamespace(id=n) for n in range(parts)])

        return {name: done(described(name)) for name in names.topic_names}

    def create_topics(self, topics: Iterable[Any], **_: Any) -> Mapping[str, Future[Any]]:
        self.topics |= {topic.topic: topic.num_partitions for topic in topics}
        return {name: done(None) for name in self.topics}

    def list_offsets(self, at: Mapping[Any, Any], **_: Any) -> Mapping[Any, Future[Any]]:
        self.looks += 1
        code = self.leaders.pop(0) if len(self.leaders) > 1 else self.leaders[0]
        return {tp: done(SimpleNamespace(offset=0) if code is None else code) for tp in at}

    def poll(self, _: float) -> None:
        """Nothing to serve."""


def test_a_new_topic_is_there_once_every_partition_has_a_leader() -> None:
    cluster = Cluster(
        [
            KafkaError.LEADER_NOT_AVAILABLE,
            KafkaError.NOT_LEADER_FOR_PARTITION,
            KafkaError.UNKNOWN_LEADER_EPOCH,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            None,
        ]
    )
    admin = Admin({})
    admin._client = cluster  # noqa: SLF001 - a cluster of the test's own
    assert admin.prepare([TopicPlan("t", 3, 1, 1000, "backward", 1000)]) == {}
    assert cluster.looks == 5
    assert admin.offsets(["t"]) == {"t": dict.fromkeys(range(3), (0, 0))}


def test_i9_a_topic_that_we_may_not_see_keeps_back_no_answer_about_others_and_is_told_alone() -> None:
    admin = Admin({})
    admin._client = Cluster([None], {"ours": 1, "closed": 0})  # noqa: SLF001
    assert admin.topic_ids(["ours", "closed"]) == {"ours": "ours"}
    assert admin.offsets(["closed", "ours"]) == {"ours": {0: (0, 0)}}
    for ask in (admin.topic_ids, admin.offsets):
        with pytest.raises(TopicRefused):
            ask(["closed", "closed"])


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._DESTROY])  # noqa: SLF001
def test_k1_a_client_that_lost_its_broker_is_made_anew(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that stood still names no broker when it is back: the client forgets it, and asks nobody."""
    lost, fresh = Cluster([code], {"t": 1}), Cluster([None], {"t": 1})
    clients = iter([lost, fresh])
    monkeypatch.setattr("engine.topic.admin.AdminClient", lambda _: next(clients))
    admin = Admin({})
    with pytest.raises(TopicUnreachable):
        admin.offsets(["t"])
    assert admin.offsets(["t"]) == {"t": {0: (0, 0)}}
    assert admin.topic_ids(["t"]) == {"t": "t"}  # and stays, as long as it is answered


# --- compared with the plan, and left as they are


@dataclass
class Careful(Cluster):
    """A cluster that says what we may do, and keeps settings; ``refused`` may not be made."""

    refused: frozenset[str] = frozenset()
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def describe_topics(self, names: Any, **asked: Any) -> Mapping[str, Future[Any]]:
        assert asked["include_authorized_operations"]
        found = {**super().describe_topics(names)}
        for name in self.topics.keys() & found.keys():
            may = self.allowed.get(name, ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"))
            told = found[name].result()
            told.authorized_operations = [SimpleNamespace(name=operation) for operation in may]
            told.partitions = [SimpleNamespace(id=p.id, leader=self.leaders[0]) for p in told.partitions]
        return found

    def create_topics(self, topics: Iterable[Any], **asked: Any) -> Mapping[str, Future[Any]]:
        assert asked["validate_only"]
        denied = KafkaError.TOPIC_AUTHORIZATION_FAILED
        return {t.topic: done(denied if t.topic in self.refused else None) for t in topics}

    def describe_configs(self, resources: Any, **_: Any) -> Mapping[Any, Future[Any]]:
        def entries(name: str) -> Any:
            return {key: SimpleNamespace(value=value) for key, value in self.settings[name].items()}

        return {resource: done(entries(resource.name)) for resource in resources}


FINE = {"cleanup.policy": "delete", "retention.ms": "1000", "max.message.bytes": str(1000 + (1 << 20))}


def compared(cluster: Careful, *names: str) -> Mapping[str, TopicLook]:
    admin = Admin({})
    admin._client = cluster  # noqa: SLF001 - a cluster of the test's own
    return admin.compare([TopicPlan(name, 2, 1, 1000, "backward", 1000) for name in names])


def test_topics_are_compared_with_their_plans_and_none_is_made() -> None:
    short = {**FINE, "retention.ms": "10", "cleanup.policy": "compact"}
    cluster = Careful([1], topics={"same": 2, "other": 3}, settings={"same": FINE, "other": short})
    looks = compared(cluster, "same", "other", "new")
    assert looks["same"] == TopicLook(2)
    assert looks["new"] == TopicLook(None)
    assert [trouble.code for trouble in looks["other"].troubles] == ["topic.mismatch"] * 3
    told = "; ".join(trouble.what for trouble in looks["other"].troubles)
    for word in ("has 3 partitions", "retention.ms=10", "cleanup.policy=compact"):
        assert word in told
    assert set(cluster.topics) == {"same", "other"}


def test_a_topic_that_we_could_not_make_or_not_use_is_told() -> None:
    cluster = Careful(
        [None], topics={"read": 2}, settings={"read": FINE}, allowed={"read": ("READ", "DESCRIBE")},
        refused=frozenset({"new"}),
    )  # fmt: skip
    looks = compared(cluster, "read", "new")
    assert looks["read"].denied == ("WRITE", "DESCRIBE_CONFIGS")
    assert looks["read"].leaderless == (0, 1)
    (trouble,) = looks["new"].troubles
    assert trouble.code == TopicRefused.code
    assert "kafka-acls.sh" in trouble.hint
