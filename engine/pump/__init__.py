"""Source → topic: one loop, one thread, one capture.

    read → encode → send → (at a mark, when it is time) flush → mark → flush → confirm

Rule (I1): a mark is written only after every record before it is acknowledged, and confirmed to the source
only after the mark itself is. Between the two lies every point where this process may be killed (I7): what
was sent and not marked comes again under the next writer epoch (I2). The promises of the door are checked
as the rows go by. This room does not keep state beyond a mark, retry by itself, or know any connector.
"""

from engine.pump.doors import Doors, Log
from engine.pump.loop import run

__all__ = ["Doors", "Log", "run"]
