"""Columns that a flow leaves out: their values never leave the server, and nothing is left out unsaid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from connectors.postgres import CONNECTOR
from connectors.postgres.config import PostgresConfig
from engine.errors import SourceUnready
from engine.source import Finding, Mark, Reading, TableSpec
from tests.support.postgres_source import Came, opened, read, rows, specs
from tests.support.services import Database, Services

pytestmark = pytest.mark.stack

CANARY = "canary-in-a-column"


@pytest.fixture
def customer(database: Database) -> Database:
    database.run(
        "create table customer (id int primary key, name text, secret text,"
        " g int generated always as (id * 2) stored)",
        f"insert into customer values (1, 'a', '{CANARY}')",
    )
    return database


def spec(*exclude: str, text: tuple[str, ...] = (), table: str = "customer") -> TableSpec:
    (found,) = specs(table)
    return replace(found, snapshot=0, exclude=exclude, text=text)


def done(came: Came) -> bool:
    return any(isinstance(item, Reading) and item.done for item in came.items)


def failed(config: PostgresConfig, *tables: TableSpec) -> list[Finding]:
    return [finding for finding in CONNECTOR.preflight(config, tables) if finding.level == "fail"]


def marked(config: PostgresConfig, table: TableSpec) -> Mark:
    with opened(config, [table]) as source:
        mark = read(source, done).marks[-1]
        source.confirm(mark)
    return mark


def test_an_excluded_column_never_leaves_the_server(config: PostgresConfig, customer: Database) -> None:
    with opened(config, [spec("secret")]) as source:
        came = read(source, done)
        customer.run(
            f"insert into customer values (2, 'b', '{CANARY}')",
            f"update customer set secret = '{CANARY}-2' where id = 2",
            "update customer set id = 3 where id = 2",
            "delete from customer where id = 3",
        )
        came.items += read(source, rows(4)).items
    assert came.rows() == [
        ("r", None, ("1", "a")), ("c", None, ("2", "b")), ("u", None, ("2", "b")),
        ("k", ("2", None), ("3", "b")), ("d", ("3", None), None),
    ]  # fmt: skip
    assert CANARY not in repr(came.items)
    with customer.connect() as connection:
        listed = connection.execute("select attnames from pg_publication_tables").fetchall()
    assert listed == [(["id", "name"],)], "the server itself leaves it out"
    assert CONNECTOR.preflight(config, [spec("secret")])


def missing(config: PostgresConfig) -> list[str]:
    return [s for need in CONNECTOR.compare(config, [spec("secret")]) for s in need.statements]


def test_the_statements_for_a_dba_leave_it_out_and_suffice(
    services: Services, config: PostgresConfig, customer: Database
) -> None:
    said = missing(config)
    assert any('FOR TABLE "public"."customer" ("id", "name") WITH' in statement for statement in said)
    mark = marked(config, spec("secret"))
    with services.admin() as connection:
        connection.execute(f"revoke {customer.app.name} from {customer.capture.name}".encode())
    customer.run(f"revoke all on customer from {config.user}")
    (grant,) = [statement for statement in missing(config) if statement.startswith("GRANT SELECT")]
    assert '("id", "name")' in grant
    assert [f for f in CONNECTOR.preflight(config, [spec("secret")]) if "may not be read" in f.text]
    customer.run(grant)
    assert [f for f in CONNECTOR.preflight(config, [spec("secret")]) if "may not be read" in f.text] == []
    assert missing(config) == []
    with opened(config, [replace(spec("secret"), snapshot=1)], mark) as source:
        assert ("r", None, ("1", "a")) in read(source, done).rows()


@pytest.mark.parametrize(
    ("wrong", "said", "fix"),
    [
        (spec("secrte"), "has no column secrte, which columns.exclude names", "did you mean secret?"),
        (spec(text=("nmae",)), "has no column nmae, which columns.text names", "did you mean name?"),
        (spec("id"), "id is part of its key", "take id out of columns.exclude"),
    ],
)
def test_columns_that_cannot_be_what_the_flow_says_are_refused_by_name(
    config: PostgresConfig, customer: Database, wrong: TableSpec, said: str, fix: str
) -> None:
    (finding,) = failed(config, wrong)
    assert said in finding.text
    assert fix in finding.fix
    assert finding.table == "public.customer"
    with pytest.raises(SourceUnready, match="customer"), CONNECTOR.open(config, [wrong], None, ()):
        pass
    with customer.connect() as connection:
        assert connection.execute("select 1 from pg_publication").fetchall() == [], "nothing was published"


def test_no_column_of_a_full_identity_can_be_excluded(config: PostgresConfig, customer: Database) -> None:
    """The application's updates would fail."""
    customer.run("alter table customer replica identity full")
    (finding,) = failed(config, spec("secret"))
    assert "replica identity FULL" in finding.text
    with pytest.raises(SourceUnready, match="FULL"), CONNECTOR.open(config, [spec("secret")], None, ()):
        pass
    customer.run("update customer set name = 'c'")


def test_a_column_that_is_published_already_is_not_told_any_further(
    config: PostgresConfig, customer: Database
) -> None:
    mark = marked(config, spec())
    (finding,) = failed(config, spec("secret"))
    assert "has secret, which the flow excludes" in finding.text
    with opened(config, [spec("secret")], mark) as source:
        customer.run(f"insert into customer values (2, 'b', '{CANARY}')")
        came = read(source, lambda came: came.gaps)
    assert came.rows() == []
    assert "secret: excluded by the flow, and published all the same" in came.gaps[0].text
    with customer.connect(customer.capture) as connection:  # it owns the publication
        connection.execute(f"set role {customer.capture.name}".encode())
        for statement in finding.fix.split("\n"):
            connection.execute(statement.encode())
    assert failed(config, spec("secret")) == []
    with opened(config, [spec("secret")], came.marks[-1]) as source:
        customer.run(f"insert into customer values (3, 'c', '{CANARY}')")
        came = read(source, rows(1))
    assert ("c", None, ("3", "c")) in came.rows()
    assert CANARY not in repr(came.items)


@pytest.mark.parametrize("when", ["between two starts", "while it runs"])
def test_a_column_that_is_added_beside_a_list_stops_its_table(
    config: PostgresConfig, customer: Database, when: str
) -> None:
    fast = config.model_copy(update={"heartbeat_s": 0.2})
    mark = marked(config, spec("secret"))
    wait: Callable[[Came], object] = lambda came: came.gaps  # noqa: E731
    if when == "between two starts":
        customer.run("alter table customer add column town text")
    with opened(fast, [spec("secret")], mark) as source:
        if when == "while it runs":
            customer.run("alter table customer add column town text")
        came = read(source, wait)
    assert "without town, which the flow does not exclude" in came.gaps[0].text
    with opened(config, [spec("secret", "town")], came.marks[-1]) as source:
        assert read(source, lambda came: came.marks).gaps == [], "excluded too, it is not missed"


def test_a_column_that_the_flow_wants_back_is_missed(config: PostgresConfig, customer: Database) -> None:
    mark = marked(config, spec("secret"))
    customer.run("insert into customer values (2, 'b', 'x')")
    with opened(config, [spec()], mark) as source:
        came = read(source, lambda came: came.gaps)
    assert "without secret" in came.gaps[0].text


def test_a_type_that_only_the_server_writes_does_not_matter_where_it_is_excluded(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table t (id int primary key, p point, a aclitem[])", "insert into t values (1, '(1,2)')"
    )
    with opened(config, [spec("p", "a", table="t")]) as source:
        came = read(source, done)
    assert {column.cell.name for column in came.runs[0].relation.columns} == {"int4_binary"}
