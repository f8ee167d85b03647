"""What the log says: when the record at an offset was written.

Rule: a reader without a group; it commits nothing, joins nothing and changes nothing. A partition that does
not answer in time has no age, which is not an age of zero.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

_OPTIONS: Final = {
    "group.id": "ecluse-watch",  # asked for by the client library; nothing is ever committed to it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "fetch.wait.max.ms": 50,
    "queued.max.messages.kbytes": 1024,
    "fetch.message.max.bytes": 65_536,
    "log_level": 0,
}

Place = tuple[str, int]
"""A topic and a partition."""


def written_at(
    options: Mapping[str, str], offsets: Mapping[Place, int], *, wait_s: float = 2.0
) -> dict[Place, int]:
    """The timestamp in milliseconds of the record at (or next after) each offset, as far as known."""
    found: dict[Place, int] = {}
    if not offsets:
        return found
    try:
        consumer = Consumer({**options, **_OPTIONS})
    except KafkaException:
        return found
    try:
        wanted = [TopicPartition(topic, p, offset) for (topic, p), offset in offsets.items()]
        consumer.assign(wanted)
        end = time.monotonic() + wait_s
        while len(found) < len(offsets) and (left_s := end - time.monotonic()) > 0:
            message = consumer.poll(left_s)
            if message is None or message.error():
                continue
            place = (message.topic() or "", message.partition() or 0)
            if place not in found:
                found[place] = message.timestamp()[1]
                consumer.incremental_unassign([TopicPartition(*place, OFFSET_INVALID)])
    except KafkaException:
        return found  # no broker: what is not known by now stays unknown
    finally:
        consumer.close()
    return found
