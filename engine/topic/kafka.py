"""The log in Kafka.

Rule: nothing may be dropped without a word. The producer is idempotent and gap-less, its messages never time
out, and only failures are reported: a callback for every record would cost a third of the throughput. So
any failed record, of any partition, is an error at the next call, and after an error nothing of this
producer arrives behind a gap. Records go to the client one by one: its call for many takes a dict for each,
asks it for six words, and goes on behind one that it did not take.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import starmap
from operator import length_hint
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from engine.envelope import Record
from engine.errors import EcluseError, TopicRefused, TopicUnreachable
from engine.plan import TopicPlan
from engine.topic.admin import OPTIONS, REFUSALS, Admin, quiet, way_out
from engine.topic.beside import SLACK_BYTES
from engine.topic.door import Stored, Waiting, silent

_SLICE_S: Final = 0.25
_TOLD_S: Final = 5.0
_RECORD_BYTES: Final = 160  # the client's own bookkeeping per message: bounds their number

# A topic that is gone is made again by the next ``prepare``; the landing tells that it is another (I9).
_GONE: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the client's own codes begin with an underscore
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    }
)
_REFUSALS: Final = REFUSALS - _GONE


class KafkaTopic:
    """Topics of one Kafka cluster; who only reads makes no producer."""

    def __init__(
        self,
        options: Mapping[str, str],
        *,
        queue_bytes_max: int = 16 << 20,
        row_bytes_max: int = 1 << 20,
        unreachable_after_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = {**options}
        # one half is for records, the other for what the client notes of each: small ones cost as much again
        self._queue_bytes = max(queue_bytes_max // 2, row_bytes_max + SLACK_BYTES)
        self._queue_records = max(1000, queue_bytes_max // 2 // _RECORD_BYTES)
        self._row_bytes = row_bytes_max
        self._unreachable_after_s = unreachable_after_s
        self._clock = clock
        self._admin = Admin(options)
        self._producer: Any = None
        self._trouble = ""
        self._failed: EcluseError | None = None

    # reading and settings

    def prepare(self, plans: Sequence[TopicPlan], *, compacted: bool = False) -> Mapping[str, EcluseError]:
        """Create what does not exist; see ``Topic.prepare``. Whoever asks is about to send."""
        if self._producer is None:
            self._open()  # it asks for its id before it is connected, and again half a second later
        return self._admin.prepare(plans, compacted=compacted)

    def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """The ids of the topics that exist."""
        return self._admin.topic_ids(names)

    def offsets(self, names: Sequence[str]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        """Earliest offset, and the one after the last."""
        return self._admin.offsets(names)

    def read(self, name: str, partition: int, start: int, stop: int) -> Iterator[Stored]:
        """The records from ``start`` up to ``stop``."""
        return self._admin.read(name, partition, start, stop)

    # sending

    def send(self, records: Sequence[Record], waiting: Waiting = silent) -> None:
        """Hand records to the producer; waits while its queue is full."""
        producer = self._producer or self._open()
        taken = self._taken(producer, records)
        self._served(producer.poll, 0)
        since, left = self._clock(), len(producer)
        while taken < len(records):
            records = records[taken:]
            self._served(producer.poll, _SLICE_S)
            waiting()
            taken = self._taken(producer, records)
            since, left = self._watch(since, left)

    def _taken(self, producer: Any, records: Sequence[Record]) -> int:
        """How many of them the queue takes before it is full; raises when one is refused."""
        self._raise_failure()
        left = iter(records)
        try:
            deque(starmap(producer.produce, left), maxlen=0)  # no step of ours for each
        except BufferError:
            return len(records) - length_hint(left) - 1
        except KafkaException as error:
            code = error.args[0].code()
            # what was fatal is told there, a moment after it has made this call fail
            self._served(producer.poll, _TOLD_S if code == KafkaError._FATAL else 0)  # noqa: SLF001
            topic, _, _, partition = records[len(records) - length_hint(left) - 1]
            kind, hint = _PASSING if code in _GONE else (TopicRefused, way_out(code))
            raise kind(
                f"a record was not taken: {error.args[0].str()}", where=f"{topic}/{partition}", hint=hint
            ) from error
        return len(records)

    def flush(self, waiting: Waiting = silent) -> None:
        """Wait until everything is acknowledged (I1)."""
        self._raise_failure()
        if self._producer is None:
            return
        since, left = self._clock(), len(self._producer)
        while self._served(self._producer.flush, _SLICE_S):
            waiting()
            since, left = self._watch(since, left)

    def _served(self, call: Callable[..., int], *words: Any, **named: Any) -> int:
        """A call of the client, which may run our callbacks; raises what any of them found wrong."""
        try:
            answer = call(*words, **named)
        except (KafkaException, SystemError) as error:
            # a fatal error is raised, not called back; a callback that runs meanwhile makes it its cause
            told = error if isinstance(error, KafkaException) else error.__cause__
            text = told.args[0].str() if isinstance(told, KafkaException) else str(told)
            code = next((code for code in _REFUSALS if KafkaError(code).str() in text), None)
            kind, hint = _told(code)
            raise self._fail(kind(text, where=_place(text) or self._servers, hint=hint)) from error
        self._raise_failure()
        return answer

    def close(self) -> None:
        """Drop what is queued; what is on its way may arrive."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException, SystemError):
                producer.purge()
                producer.flush(_SLICE_S)
        self._failed = self._failed or TopicUnreachable("the topic was closed")
        self._admin.close()

    def _open(self) -> Any:
        self._raise_failure()
        options: dict[str, Any] = {
            **self._options,
            "acks": "all",
            "enable.idempotence": True,
            "allow.auto.create.topics": False,  # a broker would make a topic that the plan does not know
            "enable.gapless.guarantee": True,  # one failed batch fails everything behind it
            "max.in.flight": 1,  # a broker that does not know us yet takes a second batch without the first
            "message.timeout.ms": 0,  # never: a timed-out message would be a gap
            "topic.metadata.propagation.max.ms": 10_000,  # a topic that is gone is made again: say so soon
            "delivery.report.only.error": True,
            "on_delivery": self._on_failure,
            "error_cb": self._on_trouble,
            "logger": quiet(),
            "compression.type": "lz4",
            "linger.ms": 25,
            "batch.size": 1_000_000,
            "batch.num.messages": 20_000,
            "message.max.bytes": self._row_bytes + SLACK_BYTES,
            "queue.buffering.max.kbytes": self._queue_bytes >> 10,
            "queue.buffering.max.messages": self._queue_records,
            "reconnect.backoff.max.ms": 2000,
        }
        try:
            self._producer = Producer(options)
        except (KafkaException, ValueError) as error:
            raise TopicRefused(f"the Kafka options are not accepted: {error}", hint=OPTIONS) from error
        return self._producer

    def _watch(self, since: float, left: int) -> tuple[float, int]:
        """Since when nothing has been acknowledged; raises when that is too long ago."""
        now, queued = self._clock(), len(self._producer)
        if queued != left:
            return now, queued
        if now - since > self._unreachable_after_s:
            raise self._fail(
                TopicUnreachable(
                    f"nothing acknowledged for {now - since:.0f} s{self._trouble}",
                    where=self._servers,
                    hint="ecluse status",
                )
            )
        return since, left

    @property
    def _servers(self) -> str:
        return self._options.get("bootstrap.servers", "")

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _fail(self, error: EcluseError) -> EcluseError:
        self._failed = self._failed or error
        return self._failed

    def _on_failure(self, error: KafkaError, message: Any) -> None:
        where = f"{message.topic()}/{message.partition()}"
        kind, hint = _told(error.code())
        self._fail(kind(f"a record was not accepted: {error.str()}{self._trouble}", where=where, hint=hint))

    def _on_trouble(self, error: KafkaError) -> None:
        self._trouble = f" ({error.str()})"
        if error.code() in _REFUSALS:
            self._fail(TopicRefused(error.str(), where=self._servers, hint=way_out(error.code())))


def _told(code: int | None) -> tuple[type[EcluseError], str]:
    """What a client's error is here, and what to do about it."""
    return (TopicRefused, way_out(code)) if code is not None and code in _REFUSALS else _PASSING


_PASSING: Final[tuple[type[EcluseError], str]] = (TopicUnreachable, "ecluse status")


def _place(text: str) -> str:
    """The topic and partition that a fatal error names: its text is all that the client gives.

    >>> _place("ProduceRequest for shop.public.parcel [2] with 1 message(s) failed: Broker: too large")
    'shop.public.parcel/2'
    """
    found = re.search(r"ProduceRequest for (\S+) \[(\d+)\]", text)
    return f"{found[1]}/{found[2]}" if found else ""
