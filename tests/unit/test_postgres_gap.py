"""The gap check over facts alone, the mark that it reads, and what a connection may be told."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.postgres import columns, gap, resume
from connectors.postgres.config import PostgresConfig
from connectors.postgres.decode import Transaction
from connectors.postgres.facts import Prints, Server, Slot
from connectors.postgres.gap import of_capture, of_overlap, of_publication, of_slot, of_table, of_tables
from connectors.postgres.preflight import _publication
from connectors.postgres.provision import provision
from connectors.postgres.publication import joining
from connectors.postgres.resume import Resume
from engine.errors import (
    ContractBroken,
    EcluseError,
    GapSuspected,
    SlotLost,
    SlotMissing,
    SourceUnready,
    answers,
)
from engine.source import STREAM, Mark, TableSpec

CONFIG = PostgresConfig(
    host="db.example.org", database="shop", user="ecluse", slot="ecluse_postal_shop",
    publication="ecluse_postal_shop", project="postal", connection="shop", password=SecretStr("hush"),
)  # fmt: skip
LAST = Transaction(commit_lsn=1000, end_lsn=1048, xid=7, commit_us=99, changes=3)
TABLE = {
    "oid": "16400", "published": "16500:700", "filter": "", "columns": "", "missing": "", "identity": "d",
    "key": "id", "relfilenode": "16400", "attributes": "abc", "leaves": "",
}  # fmt: skip
WAS = Resume(
    slot="ecluse_postal_shop", publication="ecluse_postal_shop", system_id="42", timeline=1, era=2,
    confirmed=1000, checked=900, last=LAST, overlap="last",
    publication_print={"oid": "1", "insert": "true"}, table_prints={"public.t": TABLE},
)  # fmt: skip
SERVER = Server("42", 1, 5000, 160010)
SLOT = Slot("pgoutput", "logical", "shop", False, False, None, "reserved", "", 1000, 800)  # noqa: FBT003


def found(server: Server = SERVER, slot: Slot | None = SLOT) -> list[type[Exception]]:
    return [trouble.kind for trouble in of_capture(CONFIG, WAS, server, slot)]


def test_a_source_as_the_mark_left_it_has_no_gap() -> None:
    assert found() == []
    assert found(slot=replace(SLOT, confirmed=10)) == [], "a server may forget the newest confirmation"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"plugin": "test_decoding"}, GapSuspected),
        ({"kind": "physical"}, GapSuspected),
        ({"database": "other"}, GapSuspected),
        ({"temporary": True}, GapSuspected),
        ({"two_phase": True}, GapSuspected),
        ({"wal_status": "lost"}, SlotLost),
        ({"invalid": "idle_timeout"}, SlotLost),
        ({"confirmed": 1001}, GapSuspected),
    ],
)
def test_a_slot_that_is_not_as_it_was_stops_the_capture(
    change: dict[str, Any], kind: type[Exception]
) -> None:
    assert found(slot=replace(SLOT, **change)) == [kind]


def test_a_slot_that_is_gone_has_its_own_name() -> None:
    assert found(slot=None) == [SlotMissing]


@pytest.mark.parametrize(
    ("server", "gaps"),
    [
        (Server("43", 1, 5000, 160010), 1),
        (Server("42", 1, 1047, 160010), 1),
        (Server("42", 2, 5000, 160010, ((1, 1048),)), 0),
        (Server("42", 2, 5000, 160010, ((1, 1047),)), 1),
        (Server("42", 3, 5000, 160010, ((1, 2000), (2, 1040))), 1),
        (Server("42", 3, 5000, 160010, ((1, 2000), (2, 3000))), 0),
        (Server("42", 3, 5000, 160010, ((2, 3000),)), 1),
    ],
    ids=["another", "back", "clean switch", "switch behind", "second behind", "two clean", "stranger"],
)
def test_a_server_with_another_history_stops_the_capture(server: Server, gaps: int) -> None:
    assert len(found(server)) == gaps


def test_an_older_timeline_stops_the_capture() -> None:
    was = replace(WAS, timeline=2)
    assert [t.kind for t in of_capture(CONFIG, was, SERVER, SLOT)] == [GapSuspected]


def test_a_publication_that_changed_stops_the_capture() -> None:
    assert list(of_publication(CONFIG, WAS.publication_print, WAS.publication_print)) == []
    assert len(list(of_publication(CONFIG, WAS.publication_print, None))) == 1
    (trouble,) = of_publication(CONFIG, WAS.publication_print, {"oid": "1", "insert": "false"})
    assert "insert" in trouble.what


@pytest.mark.parametrize("what", ["oid", "published", "filter", "columns", "identity", "key", "leaves"])
def test_a_table_that_changed_unsaid_may_have_a_gap(what: str) -> None:
    assert of_table(TABLE, {**TABLE, what: "other"})


def test_a_table_whose_file_moved_alone_was_truncated_or_vacuumed() -> None:
    assert of_table(TABLE, {**TABLE, "relfilenode": "2"}) == ""
    assert of_table(TABLE, {**TABLE, "attributes": "def"}) == "", "the stream tells of columns"
    assert "rewritten" in of_table(TABLE, {**TABLE, "attributes": "def", "relfilenode": "2"})


def test_only_the_table_that_changed_is_told() -> None:
    wanted = [("public", "t"), ("public", "new"), ("public", "back")]
    was = replace(WAS, left={"public.back": 400})
    now = Prints(2000, {}, {"public.t": TABLE, "public.back": TABLE})
    assert [(g.table, g.era, g.major) for g in of_tables(was, now, wanted)] == [("back", 2, 400)]
    gone = Prints(2000, {}, {})
    assert [(g.table, g.major) for g in of_tables(WAS, gone, [("public", "t")])] == [("t", 900)]


def test_the_overlap_compares_everything_that_tells_transactions_apart() -> None:
    assert of_overlap(LAST, LAST) == ""
    for name in LAST._fields:
        assert name in of_overlap(LAST, LAST._replace(**{name: 5}))


def test_a_stop_says_all_findings_and_the_way_out() -> None:
    troubles = list(of_slot(CONFIG, replace(SLOT, wal_status="lost")))
    error = gap.stop(CONFIG, troubles)
    assert isinstance(error, SlotLost)
    assert "pg_drop_replication_slot" in error.hint
    assert error.hint.endswith(answers("shop"))
    assert "hush" not in f"{error.as_dict()}"


def test_a_mark_says_what_a_start_has_to_know() -> None:
    mark = WAS.mark()
    assert mark.at == {STREAM: 1000}
    assert (mark.era, mark.committed_us) == (2, 99)
    assert resume.load(mark) == WAS
    assert resume.confirmed_of(mark) == 1000


def test_a_first_mark_covers_everything_before_the_slot() -> None:
    first = replace(WAS, last=None, overlap="none", confirmed=1000)
    assert first.mark().at == {STREAM: 999}
    assert replace(WAS, overlap="none", confirmed=2000).mark().at == {STREAM: 1999}


def test_what_was_accepted_is_one_field_of_the_mark() -> None:
    mark = WAS.mark()
    said = {**json.loads(mark.resume), "accepted": [["source.slot-missing", "it is gone"]]}
    accepted = resume.load(mark._replace(resume=json.dumps(said).encode()))
    assert accepted == replace(WAS, accepted=(("source.slot-missing", "it is gone"),))
    assert resume.load(accepted.mark()) == accepted
    assert "accepted" not in json.loads(mark.resume)


MOVED = replace(SLOT, confirmed=2000)
FOREIGN = replace(SLOT, database="other")


def taken(*stops: EcluseError) -> Resume:
    return replace(WAS, accepted=tuple((stop.code, stop.what) for stop in stops))


def stopped(slot: Slot | None, server: Server = SERVER) -> EcluseError:
    return gap.stop(CONFIG, list(of_capture(CONFIG, WAS, server, slot)))


def left_open(mark: Resume, slot: Slot | None, server: Server = SERVER) -> list[str]:
    return [t.what for t in gap.unaccepted(mark, of_capture(CONFIG, mark, server, slot))]


def test_a_person_takes_on_what_was_shown_and_nothing_that_was_found_since() -> None:
    assert len(left_open(WAS, MOVED)) == 1
    assert left_open(taken(stopped(MOVED)), MOVED) == []
    assert len(left_open(taken(stopped(MOVED)), replace(MOVED, confirmed=3000))) == 1, "moved once more"
    assert len(left_open(taken(stopped(MOVED)), None)) == 1, "another kind"
    both = replace(MOVED, database="other")
    assert len(left_open(taken(stopped(MOVED)), both)) == 1
    assert left_open(taken(stopped(MOVED), stopped(FOREIGN)), both) == [], "each was shown once"
    assert left_open(taken(stopped(both)), FOREIGN) == [], "one of two that were shown"


def test_findings_that_are_told_together_are_told_apart() -> None:
    """Each in its own words: none holds what stands between two."""
    slots = [None, MOVED, FOREIGN, *(replace(SLOT, **c) for c in ({"two_phase": True}, {"invalid": "idle"}))]
    servers = [
        SERVER,
        Server("43", 1, 900, 1),
        Server("42", 1, 900, 1),
        Server("42", 2, 5000, 1, ((1, 1000),)),
    ]
    for slot, server in itertools.product(slots, servers):
        troubles = list(of_capture(CONFIG, WAS, server, slot))
        troubles += of_publication(CONFIG, WAS.publication_print, None)
        assert gap.stop(CONFIG, troubles).what.split("; ") == [t.what for t in troubles]


def test_a_slot_that_lost_its_log_may_be_dropped_once_that_is_accepted() -> None:
    assert left_open(taken(stopped(replace(SLOT, wal_status="lost"))), None) == []
    assert len(left_open(taken(stopped(MOVED)), None)) == 1


def test_the_text_of_a_finding_stays_while_the_server_goes_on() -> None:
    behind, later = Server("42", 1, 900, 160010), Server("42", 1, 950, 160010)
    assert left_open(taken(stopped(SLOT, behind)), SLOT, later) == []


@pytest.mark.parametrize("said", [b"", b"{}", b'{"version": 9}', b"[]"])
def test_a_mark_that_cannot_be_read_is_named(said: bytes) -> None:
    with pytest.raises(ContractBroken):
        resume.load(Mark({STREAM: 1}, said))


def test_a_connection_is_told_what_it_cannot_work_out() -> None:
    assert CONFIG.tls == "verify-full"
    assert CONFIG.model_copy(update={"host": "127.0.0.1"}).tls == "prefer"
    assert CONFIG.model_copy(update={"host": "localhost", "sslmode": "require"}).tls == "require"
    assert "hush" not in f"{CONFIG!r} {CONFIG.where}"
    for wrong in ({"hots": "x"}, {"port": 0}, {"port": "5432"}, {"host": "a,b"}, {"heartbeat_s": 0.0}):
        with pytest.raises(ValidationError):
            PostgresConfig.model_validate({"host": "h", "database": "d", "user": "u"} | wrong)


def test_the_statements_for_a_dba_are_quoted_and_locked() -> None:
    said = provision(CONFIG, [TableSpec("shop.odd", "public", 'od"d'), TableSpec("shop.t", "public", "t")])
    text = ";\n".join(said)
    assert '"public"."od""d", "public"."t" IN SHARE ROW EXCLUSIVE MODE' in text
    assert text.index("CREATE PUBLICATION") < text.index("pg_create_logical_replication_slot")
    assert "hush" not in text


def test_i8_the_statements_for_a_dba_need_no_server_and_open_no_column_that_a_flow_leaves_out() -> None:
    apart = TableSpec("shop.c", "public", "customer", exclude=("secret",))
    said = provision(CONFIG, [apart, TableSpec("shop.t", "public", "t")])
    named = [statement for statement in said if "customer" in statement]
    assert len(named) == 1
    assert named[0].startswith("-- public.customer leaves out secret: ")
    assert any('FOR TABLE "public"."t" WITH' in statement for statement in said)
    assert not any("FOR TABLE" in statement for statement in provision(CONFIG, [apart]))


def test_i9_a_table_that_was_away_while_its_gap_was_accepted_is_told_again_when_it_is_back() -> None:
    wanted = [("public", "t")]
    away, later = Prints(2000, {}, {}), Prints(3000, {}, {})
    assert [g.major for g in of_tables(WAS, away, wanted)] == [900], "told when it goes"
    was = replace(WAS, table_prints={}, left=gap.left(WAS, away, wanted), checked=2000)
    assert list(of_tables(was, later, wanted)) == [], "nothing new to say while it is away"
    assert gap.left(was, later, wanted) == {"public.t": 2000}
    back = Prints(4000, {}, {"public.t": TABLE})
    assert [g.major for g in of_tables(was, back, wanted)] == [2000], "what was missed since it went"
    assert gap.left(was, back, wanted) == {}


def test_a_table_that_no_flow_wants_is_away_from_the_mark_on() -> None:
    assert gap.left(WAS, Prints(2000, {}, {}), []) == {"public.t": 1000}


def test_i9_a_table_that_may_not_join_is_refused_by_itself() -> None:
    """The others of a publication that is there go on."""
    said = dict.fromkeys(("insert", "update", "delete", "truncate"), "true") | {"all tables": "false"}
    wanted = [TableSpec(name, "public", name) for name in ("t", "mine", "theirs")]

    class Side:
        def execute(self, *_: Any) -> Side:
            return self

        def fetchone(self) -> tuple[bool, str]:
            return True, "public.theirs"

    side: Any = Side()
    now = Prints(2000, said, {"public.t": TABLE})
    (told,) = [f for f in _publication(side, CONFIG, wanted, now) if f.level == "fail"]
    assert told.table == "public.theirs"
    assert '"mine"' not in told.fix
    (whole,) = [f for f in _publication(side, CONFIG, wanted, Prints(2000, None, {})) if f.level == "fail"]
    assert whole.table == "", "a publication is made with all its tables or not at all"


def test_a_publication_that_filters_is_told_of() -> None:
    said = dict.fromkeys(("insert", "update", "delete", "truncate"), "true") | {"all tables": "false"}
    side: Any = None
    now = Prints(2000, said, {"public.t": {**TABLE, "filter": "{OPEXPR}"}})
    levels = [f.level for f in _publication(side, CONFIG, [TableSpec("t", "public", "t")], now)]
    assert levels == ["warn", "ok"]


class Old:
    """A server of before column lists, with a table of two columns."""

    info = SimpleNamespace(server_version=140010)

    def execute(self, *_: Any) -> Old:
        return self

    def fetchone(self) -> tuple[Any, ...]:
        return "d", ["id", "secret"], ["id"], []


def test_leaving_a_column_out_is_refused_by_name_before_publications_have_lists() -> None:
    side: Any = Old()
    spec = TableSpec("f", "public", "t", exclude=("secret",))
    (finding,) = columns.findings(side, CONFIG, spec)
    assert (finding.level, finding.table) == ("fail", "public.t")
    assert "columns.exclude needs PostgreSQL 15" in finding.text
    with pytest.raises(SourceUnready, match="needs PostgreSQL 15"):
        columns.refused(side, CONFIG, [spec])
    columns.refused(side, CONFIG, [TableSpec("f", "public", "t", text=("secret",))])


def test_a_table_joins_with_the_columns_that_are_kept_of_it() -> None:
    specs = [TableSpec("f", "public", "t", exclude=("x",)), TableSpec("g", "public", "u")]
    said = joining(CONFIG, specs, {"public.t": ("id", 'a"b')}, create=False)
    assert 'LOCK TABLE "public"."t", "public"."u" IN SHARE ROW EXCLUSIVE MODE' in said
    assert said[3].endswith('ADD TABLE "public"."t" ("id", "a""b"), "public"."u"')


def test_a_column_beside_a_list_is_told_once_and_not_of_an_older_mark() -> None:
    missing = {**TABLE, "missing": "town"}
    assert "without town" in gap.of_table(TABLE, missing)
    assert gap.of_table(missing, missing) == ""
    older = {name: value for name, value in TABLE.items() if name != "missing"}
    assert gap.of_table(older, missing) == ""
