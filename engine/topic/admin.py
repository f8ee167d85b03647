"""Topics from outside: made, compared with the plan, identified, measured, read.

Rule: many topics in few calls, each call bounded in time. A topic that does not exist is missing from an
answer and never an error; a broker that does not answer is TopicUnreachable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from engine.errors import EcluseError, TopicRefused, TopicUnreachable
from engine.plan import TopicPlan
from engine.topic.beside import TopicLook, denied, leaderless, settings, unequal, uneven
from engine.topic.door import Stored

REFUSALS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_CONFIG,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the client's own codes begin with an underscore
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
    }
)
"""What a person must mend; everything else may pass."""

_DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
OPTIONS: Final = "check the Kafka options and credentials of the project, then start the worker again"

_COMING: Final = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""What the brokers say of a partition that was made a moment ago."""

_CALL_S: Final = 15.0
_LOOK_S: Final = 0.1
_FETCH: Final = 1000


def quiet() -> logging.Logger:
    """A logger for clients: what is wrong is told by errors, once, and not on stderr."""
    logger = logging.getLogger("ecluse.kafka")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    return logger


class Admin:
    """The administrative side of one cluster; connects with its first call."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = {**options}
        self._client: Any = None

    def prepare(self, plans: Sequence[TopicPlan], *, compacted: bool = False) -> Mapping[str, EcluseError]:
        """Create what does not exist, and compare what does with the plan; gives each topic's own trouble."""
        wanted = {plan.name: plan for plan in plans}
        troubled: dict[str, EcluseError] = {}
        there = self._describe(list(wanted), troubled)
        new = [plan for name, plan in wanted.items() if name not in there and name not in troubled]
        self._create(new, troubled, compacted=compacted)
        self._appeared([plan.name for plan in new if plan.name not in troubled])
        for name, description in there.items():
            for trouble in uneven(wanted[name], description):
                troubled[name] = trouble
        same = [wanted[n] for n in there if n not in troubled]
        troubled.update(
            {n: found[-1] for n, found in self._compare(same, troubled, compacted=compacted).items()}
        )
        return troubled

    def compare(self, plans: Sequence[TopicPlan], *, compacted: bool = False) -> Mapping[str, TopicLook]:
        """What stands of each planned topic; of those that do not exist, whether we could make them.

        Changes nothing: the broker is asked to make them without doing it.
        """
        wanted = {plan.name: plan for plan in plans}
        troubled: dict[str, EcluseError] = {}
        there = self._describe(list(wanted), troubled, operations=True)
        new = [plan for name, plan in wanted.items() if name not in there and name not in troubled]
        self._create(new, troubled, compacted=compacted, rehearse=True)
        asked = [wanted[n] for n in there]
        differing = self._compare(asked, troubled, compacted=compacted)
        looks = {}
        for name, plan in wanted.items():
            own = (troubled[name],) if name in troubled else ()
            found = there.get(name)
            looks[name] = TopicLook(None, own)
            if found is not None:
                troubles = (*own, *uneven(plan, found), *differing.get(name, ()))
                looks[name] = TopicLook(len(found.partitions), troubles, denied(found), leaderless(found))
        return looks

    def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """The ids of the topics that exist; see ``Topic.topic_ids``."""
        return {name: str(d.topic_id) for name, d in self._allowed(names).items()}

    def offsets(self, names: Sequence[str]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        """Earliest offset, and the one after the last, of every partition of the topics that exist."""
        there = self._allowed(names)
        at = _partitions(there)
        ends = [self._ends(at, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest())]
        first, last = ({(tp.topic, tp.partition): r.offset for tp, r in end.items()} for end in ends)
        found: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in there}
        for name, number in first.keys() & last.keys():
            found[name][number] = (first[name, number], last[name, number])
        return found

    def read(self, name: str, partition: int, start: int, stop: int) -> Iterator[Stored]:
        """The records from ``start`` up to ``stop``; compaction and retention leave holes.

        Raises TopicUnreachable where the log stays shorter than that.
        """
        consumer = Consumer({
            **self._options,
            "group.id": "ecluse-reader",  # never joined: the partition is assigned
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 4096,
            "fetch.wait.max.ms": 20,  # the end of a log is told when a fetch comes back empty
            "check.crcs": True,
            "error_cb": lambda _: None,
            "logger": quiet(),
        })  # fmt: skip
        try:
            consumer.assign([TopicPartition(name, partition, start)])
            yield from _records(consumer, stop)
        except KafkaException as error:
            raise translated(error.args[0], f"{name}/{partition}") from error
        finally:
            consumer.close()

    def close(self) -> None:
        """Let the client go."""
        self._client = None

    def _ends(
        self, at: Sequence[TopicPartition], spec: OffsetSpec, missing: Collection[int] = ()
    ) -> dict[Any, Any]:
        if not at:
            return {}
        return self._call(
            lambda c: c.list_offsets(dict.fromkeys(at, spec), request_timeout=_CALL_S), missing=missing
        )

    def _allowed(self, names: Sequence[str]) -> dict[str, Any]:
        """What stands of the topics; of many, without those that we may not see (I9)."""
        several = len({*names}) > 1
        return self._describe(names, unseen=(KafkaError.TOPIC_AUTHORIZATION_FAILED,) if several else ())

    def _describe(
        self,
        names: Sequence[str],
        troubled: dict[str, EcluseError] | None = None,
        unseen: Collection[int] = (),
        *,
        operations: bool = False,
    ) -> dict[str, Any]:
        if not names:
            return {}
        more = {"include_authorized_operations": True} if operations else {}
        found = self._call(
            # two flows may land one topic, and the client refuses a name that stands twice
            lambda c: c.describe_topics(
                TopicCollection(list(dict.fromkeys(names))), request_timeout=_CALL_S, **more
            ),
            missing=(KafkaError.UNKNOWN_TOPIC_OR_PART, *unseen),
            troubled=troubled,
        )
        return {name: found[name] for name in names if name in found}

    def _create(
        self,
        plans: Sequence[TopicPlan],
        troubled: dict[str, EcluseError],
        *,
        compacted: bool,
        rehearse: bool = False,
    ) -> None:
        if not plans:
            return
        more = {"validate_only": True} if rehearse else {}
        topics = [
            NewTopic(
                plan.name,
                num_partitions=plan.partitions,
                replication_factor=plan.replication,
                config=settings(plan, compacted=compacted),
            )
            for plan in plans
        ]
        self._call(
            lambda c: c.create_topics(topics, operation_timeout=_CALL_S, request_timeout=_CALL_S, **more),
            missing=(KafkaError.TOPIC_ALREADY_EXISTS,),  # another capture was faster
            troubled=troubled,
        )

    def _appeared(self, names: Sequence[str]) -> None:
        """Wait until new topics are known and every partition has a leader: creation returns before that."""
        for _ in range(int(_CALL_S / _LOOK_S)):
            at = _partitions(there := self._describe(names))
            if len(there) == len(names) and len(self._ends(at, OffsetSpec.latest(), missing=_COMING)) == len(
                at
            ):
                return
            time.sleep(_LOOK_S)
        raise TopicUnreachable(f"topics do not appear: {', '.join(names)}")

    def _compare(
        self, plans: Sequence[TopicPlan], troubled: dict[str, EcluseError], *, compacted: bool
    ) -> Mapping[str, list[EcluseError]]:
        """Where topics that exist do not keep what the plan wants kept, or take what it lets in."""
        resources = {ConfigResource(ConfigResource.Type.TOPIC, plan.name): plan for plan in plans}
        differing: dict[str, list[EcluseError]] = {}
        if not resources:
            return differing
        found = self._call(
            lambda c: c.describe_configs(list(resources), request_timeout=_CALL_S),
            missing=(KafkaError.UNKNOWN_TOPIC_OR_PART,),  # deleted just now: its first record tells
            troubled=troubled,
        )
        for resource, entries in found.items():
            plan = resources[resource]
            now = {name: entry.value for name, entry in entries.items()}
            if troubles := unequal(plan, now, compacted=compacted):
                differing[plan.name] = troubles
        return differing

    def _call(
        self,
        ask: Callable[[Any], Mapping[Any, Future[Any]]],
        missing: Collection[int] = (),
        troubled: dict[str, EcluseError] | None = None,
    ) -> dict[Any, Any]:
        """The answers of one request; those with a code of ``missing`` are left out.

        A refusal that concerns one topic goes to ``troubled``, where that is given, and is raised elsewhere.
        A client that was not answered is let go: where a broker that stood still has told it of no brokers it
        has forgotten the only one that it knew, and would wait for a controller for ever.
        """
        answers = {}
        try:
            client = self._client  # another thread may let it go meanwhile
            if client is None:
                options = {**self._options, "error_cb": lambda _: None, "logger": quiet()}
                client = self._client = AdminClient(options)
            for key, future in ask(client).items():
                try:
                    answers[key] = future.result(timeout=2 * _CALL_S)
                except KafkaException as error:
                    code = error.args[0].code()
                    if troubled is not None and code in REFUSALS.difference(missing):
                        name = str(getattr(key, "name", key))
                        troubled[name] = translated(error.args[0], name)
                    elif code not in missing:
                        raise
        except KafkaException as error:
            if error.args[0].code() not in REFUSALS:
                self._client = None
            raise translated(error.args[0], self._options.get("bootstrap.servers", "")) from error
        except (TimeoutError, ValueError) as error:
            self._client = None
            where = self._options.get("bootstrap.servers", "")
            raise TopicUnreachable(str(error) or "no answer in time", where=where) from error
        return answers


def _partitions(there: Mapping[str, Any]) -> list[TopicPartition]:
    return [TopicPartition(n, p.id) for n, d in there.items() for p in d.partitions]


def _records(consumer: Any, stop: int) -> Iterator[Stored]:
    while True:
        # a batch call alone would wait until its batch is full, at the end of a log for ever
        first = consumer.poll(_CALL_S)
        if first is None:
            raise TopicUnreachable(f"no records for {_CALL_S:.0f} s")
        for message in (first, *consumer.consume(_FETCH, timeout=0)):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                if message.offset() >= stop:
                    return
                continue  # a broker that just took over may know less for a moment than was told
            if error is not None:
                raise KafkaException(error)
            if message.offset() >= stop:
                return
            yield Stored(message.offset(), message.key(), message.value())
            if message.offset() == stop - 1:
                return


def way_out(code: int) -> str:
    """What a person does about a refusal."""
    if code in _DENIED:
        return "grant our user the operation (kafka-acls.sh --add), then start the worker again"
    if code in (KafkaError._AUTHENTICATION, KafkaError._SSL):  # noqa: SLF001
        return OPTIONS
    return "kafka-configs.sh --describe --entity-type topics shows what the broker allows: mend that"


def translated(error: KafkaError, where: str) -> EcluseError:
    """A Kafka error as one of ours."""
    if error.code() in REFUSALS:
        return TopicRefused(error.str(), where=where, hint=way_out(error.code()))
    return TopicUnreachable(error.str(), where=where, hint="ecluse status")
