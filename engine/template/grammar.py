"""The four kinds, as data: Project, FlowTemplate, Flow, FlowSet.

Rule: a key stands here only when this version honours it; keys that are promised for later are refused by
name, never accepted and ignored. Files and editors are served from the same definitions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from engine.template import modelled
from engine.template.checking import CHECKS, NAME
from engine.template.contracting import CONTRACT
from engine.template.mistakes import Code
from engine.template.modelled import Model
from engine.template.shapes import (
    ABSENT,
    Anything,
    Choice,
    Duration,
    Fields,
    Flag,
    Key,
    Many,
    Named,
    Number,
    Secret,
    Shape,
    Size,
    Text,
    Variant,
    Whole,
)
from engine.template.trials import FLOW_TESTS, TEMPLATE_TESTS

API_VERSION: Final = "ecluse/v1"
SUPPORTED: Final = (API_VERSION,)

TABLE: Final = Text("schema.table", r"[^.]+\.[^.]+", high=200)
COLUMN: Final = Text("the name of a column", high=200)
TEMPLATE: Final = Text("name@major, such as postgres_table@1", r"[a-z][a-z0-9_]{0,62}@(0|[1-9][0-9]{0,5})")
VERSION: Final = Text(
    "a version such as 1.0.0", r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})"
)
SINK_TABLE: Final = Text(
    "layer.name, both of letters, digits, _ and -, beginning with a letter (the name may begin with _)",
    r"[A-Za-z][A-Za-z0-9_-]{0,62}\.[A-Za-z_][A-Za-z0-9_-]{0,127}",
)
SERVER: Final = Text(
    "host:port", r"[^\s:/,@]+:[0-9]{1,5}(,[^\s:/,@]+:[0-9]{1,5})*|\[[0-9a-fA-F:]+\]:[0-9]{1,5}"
)

_LATER: Final = {
    "alerts": "alerts arrive with a later version: take the key out",
}
DERIVED: Final = frozenset({"slot", "publication", "project", "connection"})
"""Fields of a connector's config that the plan derives; an author cannot write them."""


def _document(kind: str, metadata: Fields, spec: Shape) -> Fields:
    return Fields(
        {
            "apiVersion": Key(Choice(SUPPORTED), "the version of this grammar"),
            "kind": Key(Choice((kind,)), "what this document is"),
            "metadata": Key(metadata, "its name, and who it belongs to"),
            "spec": Key(spec, "what it says"),
        }
    )


# --- Project ---------------------------------------------------------------------------------------------

KAFKA_OPTIONS: Final = Fields(
    {
        "security.protocol": Key(
            Choice(("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")),
            "how the broker is spoken to",
            "PLAINTEXT",
        ),
        "sasl.mechanism": Key(
            Choice(("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")), "how we say who we are", ABSENT
        ),
        # no quote, backslash or semicolon: the name is written into a JAAS line for Spark
        "sasl.username": Key(Text("a name without quotes", r"[^\s\"'\\;]+", high=200), "who we are", ABSENT),
        "sasl.password": Key(Secret(), "a reference to the password", ABSENT),
        "ssl.ca.location": Key(Text("the path of a PEM file"), "whom we trust", ABSENT),
    }
)

KAFKA: Final = Fields(
    {
        "bootstrap_servers": Key(Many(SERVER, low=1, high=50), "the brokers, each host:port"),
        "options": Key(KAFKA_OPTIONS, "client options; no others pass to the client or to the JVM", {}),
    }
)
REGISTRY: Final = Fields(
    {
        "url": Key(
            Text("an http or https address", r"https?://[^\s?#]+"), "a Confluent-compatible schema registry"
        )
    }
)
LAKE: Final = Fields(
    {
        "root": Key(
            Text("a folder (object stores arrive with a later version)", r"(?![A-Za-z][A-Za-z0-9+.-]*:).+"),
            "the folder of the tables, absolute or relative to the project",
        )
    }
)


def project(models: Mapping[str, Model]) -> Fields:
    """The kind Project; the connectors' config models say what a connection may hold."""
    known = {
        name: Fields({"type": _type(name), **modelled.of_connection(models[name], DERIVED)})
        for name in sorted(models)
    }
    connection = Variant("type", known, "connector", Code.UNKNOWN_CONNECTOR)
    return _document(
        "Project",
        Fields({"name": Key(NAME, "the project's name: part of topics, slots and groups")}),
        Fields(
            {
                "connections": Key(Named(connection, NAME), "the sources, by name", {}),
                "kafka": Key(KAFKA, "the brokers; absent: the embedded one", ABSENT),
                "registry": Key(REGISTRY, "the schema registry; absent: the embedded one", ABSENT),
                "lake": Key(LAKE, "where tables are; absent: beside the embedded stack", ABSENT),
            },
            _LATER,
        ),
    )


def _type(connector: str) -> Key:
    return Key(Choice((connector,)), "which connector")


# --- FlowTemplate ----------------------------------------------------------------------------------------

_COMMON: Final = {
    "required": Key(Flag(), "whether a flow must give it", default=False),
    "default": Key(Anything(), "what it is when a flow does not give it", ABSENT),
    "description": Key(Text(), "what it means", ABSENT),
}
_SCALARS: Final = ("string", "integer", "number", "boolean", "duration", "size")


def _param(kind: str, **keys: Key) -> Fields:
    return Fields({"type": Key(Choice((kind,)), "the parameter's type"), **keys, **_COMMON})


PARAM: Final = Variant(
    "type",
    {
        "string": _param(
            "string",
            pattern=Key(Text("a regular expression"), "what the whole text must match", ABSENT),
            min_length=Key(Whole(0, 100_000), "characters", 1),
            max_length=Key(Whole(1, 100_000), "characters", 1_000),
        ),
        "integer": _param("integer", min=Key(Whole(), "", ABSENT), max=Key(Whole(), "", ABSENT)),
        "number": _param("number", min=Key(Number(), "", ABSENT), max=Key(Number(), "", ABSENT)),
        "boolean": _param("boolean"),
        "enum": _param("enum", values=Key(Many(Text(), low=1), "the words")),
        "duration": _param("duration"),
        "size": _param("size"),
        "list": _param("list", of=Key(Choice(_SCALARS), "the type of an entry")),
        "map": _param("map"),
        "any": _param("any"),
        "connection": _param("connection", of=Key(NAME, "the connector that it must be of")),
    },
    "type of parameter",
)

SOURCE: Final = {
    "connection": Key(NAME, "a connection of the project"),
    "table": Key(TABLE, "what is read, schema.table: the topic has its name, and the table unless told"),
}
"""What every flow says of its source, whatever it is."""
_TABLE: Final = {
    "snapshot": Key(
        Fields(
            {
                "mode": Key(Choice(("initial", "none")), "whether the rows that are there are read first"),
                "run": Key(Whole(0, 2**31 - 1), "raise it, and the table is read again", 0),
            },
        ),
        "what is read of the table besides its changes",
    ),
    "on_truncate": Key(Choice(("apply", "ignore", "stop")), "what TRUNCATE does", "apply"),
    "columns": Key(
        Fields(
            {
                "exclude": Key(Many(COLUMN), "columns that never leave the source", []),
                "text": Key(Many(COLUMN), "columns that land as the source writes them", []),
            }
        ),
        "what is taken of the table's columns; all of them, each as its type, unless told",
        {},
    ),
}

_MINUTE: Final = 60_000
_DAY: Final = 1_440 * _MINUTE

FLOW: Final = Fields(
    {
        "topic": Key(
            Fields(
                {
                    "partitions": Key(Whole(1, 1_000), "fixed when the topic is made", 4),
                    "retention": Key(Duration(_MINUTE, 3650 * _DAY), "how long records stay", "30d"),
                    "compatibility": Key(Choice(("backward",)), "what the registry enforces", "backward"),
                    "row_bytes_max": Key(
                        Size(2**10, 2**27), "above it a row becomes a stub, and its flow stops there", "8MiB"
                    ),
                }
            ),
            "the topic in between",
            {},
        ),
        "schema": Key(
            Fields(
                {
                    "add_column": Key(Choice(("evolve", "park")), "a new column", "evolve"),
                    "widen_type": Key(Choice(("evolve", "park")), "int to bigint and the like", "evolve"),
                    "drop_column": Key(Choice(("keep", "park")), "a dropped column", "keep"),
                    "alter_type": Key(Choice(("park",)), "any other change of a type", "park"),
                    "change_key": Key(Choice(("park",)), "another key", "park"),
                }
            ),
            "what happens when the source's schema changes",
            {},
        ),
        "contract": Key(CONTRACT, "the types of a partner's columns, and how texts stand for values", ABSENT),
        "checks": Key(CHECKS, "what a row must meet, each by a name", {}),
        "quarantine": Key(
            Fields(
                {
                    "max_ratio": Key(
                        Number(0, 1), "of the records read; with more in quarantine the flow stops", 1
                    ),
                    "min_rows": Key(
                        Whole(1, 100_000_000), "fewer are not judged: small batches are taken together", 1_000
                    ),
                }
            ),
            "how much of a batch may wait there",
            {},
        ),
        "landing": Key(
            Fields(
                {
                    "freshness": Key(Duration(0, _DAY), "how old a change may get before it lands", "10s"),
                    "rows_per_commit": Key(Whole(1, 100_000_000), "the largest batch", 500_000),
                }
            ),
            "when batches land",
            {},
        ),
        "sink": Key(
            Fields(
                {
                    "type": Key(Choice(("delta",)), "the kind of table"),
                    "table": Key(SINK_TABLE, "the table, layer.name"),
                    "mode": Key(
                        Choice(("append", "scd1"), {"scd2": "scd2 arrives with a later version"}),
                        "how rows land",
                    ),
                    "keys": Key(Choice(("auto",)), "auto: the record's key", "auto"),
                    "deletes": Key(Choice(("hard", "soft")), "scd1: remove the row, or mark it", "hard"),
                }
            ),
            "the table that rows land in",
        ),
    },
    _LATER,
)

NO_FLOWS: Final[Mapping[str, Model]] = {}
NO_KEEPS: Final[Mapping[str, str]] = {}


def flow(connectors: Collection[str], flows: Mapping[str, Model]) -> Fields:
    """What a flow is: its source as the connector's own model has it, else a table's, and ``FLOW``."""
    more = {name: modelled.of_flow(flows[name]) if name in flows else _TABLE for name in sorted(connectors)}
    known = {name: Fields({"type": _type(name), **SOURCE, **keys}) for name, keys in more.items()}
    source = Variant("type", known, "connector", Code.UNKNOWN_CONNECTOR)
    return Fields({"source": Key(source, "where rows come from"), **FLOW.keys}, FLOW.later)


def template(flow: Fields) -> Fields:
    """The kind FlowTemplate, of such a flow."""
    metadata = {
        "name": Key(NAME, "what flows call it"),
        "version": Key(VERSION, "flows name its first number"),
        "description": Key(Text(), "one line", ABSENT),
    }
    spec = {
        "params": Key(Named(PARAM, NAME), "what a flow gives", {}),
        "flow": Key(flow, "what becomes of it", tokens=True),
        "tests": Key(TEMPLATE_TESTS, "rows, and what becomes of them", {}),
    }
    return _document("FlowTemplate", Fields(metadata), Fields(spec, _LATER))


# --- Flow and FlowSet ------------------------------------------------------------------------------------

_METADATA: Final = Fields(
    {
        "name": Key(NAME, "the flow's name; of a set: the first half of its flows' names"),
        "group": Key(NAME, "flows of one group land in one job", "default"),
        "owner": Key(Text(low=0, high=200), "whom to call", ""),
    }
)
_GIVEN: Final = Named(Anything(), NAME)
OWN: Final = {
    "checks": Key(CHECKS, "checks beside those of the template", {}),
    "tests": Key(FLOW_TESTS, "rows, and what becomes of them", {}),
}
"""What stands in an entry of a FlowSet beside its parameters: no parameter has such a name."""

FLOW_KIND: Final = _document(
    "Flow",
    _METADATA,
    Fields(
        {
            "template": Key(TEMPLATE, "the template, name@major"),
            "params": Key(_GIVEN, "what the template asks for", {}),
            **OWN,
        },
        _LATER,
    ),
)

FLOW_SET_KIND: Final = _document(
    "FlowSet",
    _METADATA,
    Fields(
        {
            "template": Key(TEMPLATE, "the template of all its flows, name@major"),
            "params": Key(_GIVEN, "parameters of all; a flow may override", {}),
            "flows": Key(
                Named(Named(Anything(), NAME, own=OWN), NAME, low=1),
                "the flows by name, each with its own parameters, checks and tests",
            ),
        },
        _LATER,
    ),
)
