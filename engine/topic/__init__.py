"""The log between capture and lake: what it is to be sent, durable, and read again.

Rule: ``send`` promises nothing; after ``flush`` every record sent before is acknowledged by the broker, in
the order of its partition and without a gap, or the call has raised and this topic takes nothing more (I1).
Whoever waits here goes on living: ``waiting`` is called at least once a second. This room does not know
what a record means.
"""

from engine.topic.door import Stored, Topic, Waiting, silent
from engine.topic.kafka import KafkaTopic
from engine.topic.memory import MemoryTopic

__all__ = ["KafkaTopic", "MemoryTopic", "Stored", "Topic", "Waiting", "silent"]
