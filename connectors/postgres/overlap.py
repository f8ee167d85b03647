"""The overlap proof: the last transaction of the mark comes again first, and is the same.

Rule: the slot stays one transaction behind the mark. What comes again is compared and not published. A
disk that was rolled back, a slot that was advanced or made again: all of them fail here, where every look
at the catalogue passes.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from psycopg import errors, pq

from connectors.postgres import gap, wire
from connectors.postgres.config import PostgresConfig
from connectors.postgres.decode import Decoder, Transaction
from connectors.postgres.resume import Resume
from connectors.postgres.wire import BODY, show_lsn
from engine.errors import GapSuspected, SourceUnreachable

_ASK_S: Final = 1.0
_SILENCE_S: Final = 60.0


def prove(config: PostgresConfig, pg: pq.abc.PGconn, decoder: Decoder, start: Resume) -> Resume:
    """Read the transaction that must come again; gives the state to go on from.

    Raises GapSuspected when it is another one, or none; with an accepted gap a new era begins instead.
    """
    stored = start.last
    if stored is None or start.overlap == "none":
        return start
    message, why = _first(pg, decoder, start, stored)
    if not why:
        decoder.last = stored
        return start
    if not _accepted(start, why):
        raise gap.stop(config, [gap.Trouble(GapSuspected, why)])
    decoder.era = start.era + 1
    if message is not None:
        decoder.feed(message)
    return replace(start, era=decoder.era, last=None, overlap="none")


def _accepted(start: Resume, why: str) -> bool:
    return not gap.unaccepted(start, [gap.Trouble(GapSuspected, why)])


def _first(
    pg: pq.abc.PGconn, decoder: Decoder, start: Resume, stored: Transaction
) -> tuple[bytes | None, str]:
    """Why the first transaction is not the stored one, and the message that shows it; or nothing."""
    began: tuple[int, int, int] | None = None
    count = 0
    name = f"the transaction at {show_lsn(stored.commit_lsn)}, the last of the mark,"
    # one text, whether the server passes that position in silence or begins with another transaction first:
    # which of them comes is a matter of time, and an answer to the one would not hold for the other
    gone = f"{name} did not come again: the server has another history"
    for d in _messages(pg, start):
        if d[0] == wire.KEEPALIVE:
            end, _, _ = wire.unpack_keepalive(d, 1)
            if end >= stored.end_lsn and began is None:
                return None, gone
            continue
        kind = d[wire.KIND]
        if kind == wire.BEGIN:
            commit_lsn, ts, xid = wire.unpack_begin(d, BODY)
            began = (commit_lsn, ts + wire.EPOCH_US, xid)
            if began != (stored.commit_lsn, stored.commit_us, stored.xid):
                return d, gone
            decoder.feed(d)  # what a relation is, is asked as this transaction left it
        elif kind in (wire.INSERT, wire.UPDATE, wire.DELETE):
            count += 1
        elif kind == wire.TRUNCATE:
            count += len(wire.truncated(d))
        elif kind == wire.COMMIT and began is not None:
            _, commit_lsn, end_lsn, _ = wire.unpack_commit(d, BODY)
            decoder.feed(d)
            found = Transaction(commit_lsn, end_lsn, began[2], began[1], count)
            different = gap.of_overlap(stored, found)
            why = f"{name} came again with other content: {different}" if different else ""
            # an accepted gap takes it for the same: its rows are in the topic already
            return None, "" if _accepted(start, why) else why
        else:
            decoder.feed(d)  # a relation is described once per connection
    raise SourceUnreachable("the server ended the stream")  # _messages ends by raising


def _messages(pg: pq.abc.PGconn, start: Resume) -> Iterator[bytes]:
    """The messages of the stream, with feedback that asks for an answer."""
    poll = select.poll()
    poll.register(pg.socket, select.POLLIN)
    asked, heard = 0.0, time.monotonic()
    while True:
        size, data = pg.get_copy_data(1)
        now = time.monotonic()
        if size > 0:
            heard = now
            yield bytes(data)
            continue
        if size < 0:
            result = pg.get_result()
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                raise errors.error_from_result(result)
            raise SourceUnreachable("the server ended the stream")
        if now - heard > _SILENCE_S:
            raise SourceUnreachable(f"the server has said nothing for {_SILENCE_S:.0f} s")
        if now - asked >= _ASK_S:
            asked = now
            pg.put_copy_data(
                wire.status(start.confirmed, start.confirmed, time.time_ns() // 1000, reply=True)
            )
            pg.flush()
        poll.poll(int(_ASK_S * 1000))
        pg.consume_input()
