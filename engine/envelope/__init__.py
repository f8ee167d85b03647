"""The only wire format: Rows become the bytes of a topic's records, and come back.

A record's value is one Avro record, a superset of Debezium's envelope (``shape``). Rows are encoded by a
function generated per relation and pair of schema ids (``fast``); a row that it cannot take goes field by
field (``encoder``), so that a bad value is data and never an exception (I5). fastavro is the reference for
every byte. This room does not know Kafka, the registry, or what a reader does with a record.
"""

from engine.envelope.decoder import decode, header, leading, schema_id
from engine.envelope.encoder import Address, Encoder, Record, Tally
from engine.envelope.shape import EARLY, key_schema, value_schema

__all__ = [
    "EARLY",
    "Address",
    "Encoder",
    "Record",
    "Tally",
    "decode",
    "header",
    "key_schema",
    "leading",
    "schema_id",
    "value_schema",
]
