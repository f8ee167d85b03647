"""The parcel company at work: a steady stream of transactions, as an application would write them.

Rule: the order of work comes from the seed alone; the clock only sets the pace. Inserts, updates, deletes,
new labels (key changes), tours of many rows in one transaction, work that is rolled back. Reads the address
of the database from ECLUSE_DEMO_DSN, so that no password stands in a list of processes. Each second it
prints a line of JSON: the changes committed so far, per table. Ends at SIGTERM, or after ``--seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, LiteralString

import psycopg

from examples.demo.fake import SERVICES, Company

KEPT: Final = 20_000  # keys remembered per table: memory is bounded whatever the length of the run
SERIALS: Final = 10_000_000  # tracking serials start here
VAT: Final = (Decimal("20.00"), Decimal("10.00"), Decimal("5.50"))

CUSTOMER: Final = """INSERT INTO customers (id, kind, name, email, phone, street, postcode, city, country,
  credit_limit, newsletter, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
PARCEL: Final = """INSERT INTO parcels (tracking, customer_id, service, status, recipient, street, postcode,
  city, country, weight_kg, declared_value, insured, promised_on, posted_at)
  VALUES (%s, %s, %s, 'posted', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
SCAN: Final = """INSERT INTO scan_events (id, tracking, depot, kind, operator, latitude, longitude,
  scanned_at, local_time, remark) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
INVOICE: Final = """INSERT INTO invoices (id, number, customer_id, net, vat_rate, vat, gross, issued_on,
  due_on, paid, body) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, false, %s)"""


class Shop:
    """The application: one connection, the keys it knows, and what it has committed."""

    def __init__(self, connection: psycopg.Connection[Any], company: Company) -> None:
        self.db = connection
        self.co = company
        self.pick = company.random
        self.committed: Counter[str] = Counter()
        self.transactions = 0
        self.customers = self._keys("SELECT id FROM customers ORDER BY id DESC LIMIT %s")
        self.parcels = self._keys("SELECT tracking FROM parcels ORDER BY tracking DESC LIMIT %s")
        self.scans = self._keys("SELECT id FROM scan_events ORDER BY id DESC LIMIT %s")
        self.unpaid = self._keys("SELECT id FROM invoices WHERE NOT paid ORDER BY id DESC LIMIT %s")
        self._last: Counter[str] = Counter()
        self._last["customers"] = self._number("SELECT coalesce(max(id), 0) FROM customers")
        self._last["scan_events"] = self._number("SELECT coalesce(max(id), 0) FROM scan_events")
        self._last["invoices"] = self._number("SELECT coalesce(max(id), 0) FROM invoices")
        newest = "SELECT coalesce(max(substr(tracking, 3, 8)::bigint), 0) FROM parcels"
        self._last["parcels"] = max(SERIALS, self._number(newest))
        self._pending: Counter[str] = Counter()

    def _keys(self, query: LiteralString) -> list[Any]:
        return [row[0] for row in self.db.execute(query, [KEPT]).fetchall()][::-1]

    def _number(self, query: LiteralString) -> int:
        row = self.db.execute(query).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def work(self) -> Iterator[None]:
        """One transaction; its changes count once it is committed."""
        self._pending.clear()
        with self.db.transaction():
            yield
        self.committed += self._pending
        self.transactions += 1

    def next(self, table: str) -> int:
        """The next number of a table."""
        self._last[table] += 1
        return self._last[table]

    def write(self, table: str, query: LiteralString, rows: Sequence[Sequence[Any]], weight: int = 1) -> None:
        """Run one statement per row; ``weight`` is how many changes each makes in the log."""
        with self.db.cursor() as cursor:
            cursor.executemany(query, rows, returning=False)
            self._pending[table] += cursor.rowcount * weight

    def sign_up(self) -> None:
        """A new customer."""
        with self.work():
            number, person = self.next("customers"), self.co.person()
            kind = self.pick.choice(("person", "person", "company"))
            limit = self.co.amount(100, 5_000) if kind == "company" else None
            where = (person.street, person.postcode, person.city, person.country)
            row = (number, kind, person.name, person.email, self.pick.choice((person.phone, None)), *where)
            self.write(
                "customers",
                CUSTOMER,
                [(*row, limit, self.pick.random() < 0.5, self.co.now())],  # noqa: PLR2004
            )
        _remember(self.customers, number)

    def post(self) -> None:
        """A few parcels of one customer, each with its first scan, and the invoice, in one transaction."""
        if not self.customers:
            return self.sign_up()
        customer = self.pick.choice(self.customers)
        with self.work():
            labels = [self.co.label(self.next("parcels")) for _ in range(self.pick.randint(1, 3))]
            self.write("parcels", PARCEL, [self._parcel(label, customer) for label in labels])
            events = [self._scan(label, "posted") for label in labels]
            self.write("scan_events", SCAN, events)
            invoice = self._invoice(customer)
            self.write("invoices", INVOICE, [invoice])
        _remember(self.parcels, *labels)
        _remember(self.scans, *(event[0] for event in events))
        _remember(self.unpaid, invoice[0])
        return None

    def tour(self) -> None:
        """A depot scans a whole cage: many scans, and the status of as many parcels, in one transaction."""
        if not self.parcels:
            return self.post()
        cage = self.pick.sample(self.parcels, min(len(self.parcels), self.pick.randint(3, 25)))
        status = self.pick.choice(("sorted", "in transit", "out for delivery", "delivered"))
        with self.work():
            events = [self._scan(label, status) for label in cage]
            self.write("scan_events", SCAN, events)
            at = self.co.now() if status == "delivered" else None
            query = "UPDATE parcels SET status=%s, delivered_at=coalesce(%s, delivered_at) WHERE tracking=%s"
            self.write("parcels", query, [(status, at, label) for label in cage])
        _remember(self.scans, *(event[0] for event in events))
        return None

    def scan(self) -> None:
        """One parcel is seen somewhere."""
        if not self.parcels:
            return self.post()
        with self.work():
            event = self._scan(self.pick.choice(self.parcels), "seen")
            self.write("scan_events", SCAN, [event])
        _remember(self.scans, event[0])
        return None

    def move_house(self) -> None:
        """A customer's new address."""
        if self.customers:
            person = self.co.person()
            query = "UPDATE customers SET street = %s, postcode = %s, city = %s, country = %s WHERE id = %s"
            with self.work():
                where = (person.street, person.postcode, person.city, person.country)
                self.write("customers", query, [(*where, self.pick.choice(self.customers))])

    def pay(self) -> None:
        """Invoices are paid; their large text is not touched, so the source does not send it."""
        if self.unpaid:
            paid = [self._forget(self.unpaid) for _ in range(min(len(self.unpaid), self.pick.randint(1, 4)))]
            with self.work():
                query = "UPDATE invoices SET paid = true, paid_at = %s WHERE id = %s"
                self.write("invoices", query, [(self.co.now(), number) for number in paid])

    def correct(self) -> None:
        """A scan was read wrongly: it is corrected, or taken back."""
        if self.scans:
            with self.work():
                if self.pick.random() < 0.7:  # noqa: PLR2004
                    query: LiteralString = "UPDATE scan_events SET remark = %s WHERE id = %s"
                    row: tuple[Any, ...] = (self.co.sentence(6), self.pick.choice(self.scans))
                else:
                    query, row = "DELETE FROM scan_events WHERE id = %s", (self._forget(self.scans),)
                self.write("scan_events", query, [row])

    def label_again(self) -> None:
        """A torn label: the parcel gets a new tracking number, which is its key."""
        if self.parcels:
            old, new = self._forget(self.parcels), self.co.label(self.next("parcels"))
            with self.work():
                query = "UPDATE parcels SET tracking = %s WHERE tracking = %s"
                self.write("parcels", query, [(new, old)], weight=2)
            _remember(self.parcels, new)

    def clear(self) -> None:
        """Old things go: a parcel, or a customer who asked for it."""
        if self.pick.random() < 0.5 and self.customers:  # noqa: PLR2004
            with self.work():
                self.write(
                    "customers", "DELETE FROM customers WHERE id = %s", [(self._forget(self.customers),)]
                )
        elif self.parcels:
            with self.work():
                self.write(
                    "parcels", "DELETE FROM parcels WHERE tracking = %s", [(self._forget(self.parcels),)]
                )

    def change_mind(self) -> None:
        """Work that is rolled back: nobody downstream may ever see it."""
        if self.parcels:
            with self.work():
                self.write("scan_events", SCAN, [self._scan(self.pick.choice(self.parcels), "never")])
                self._pending.clear()
                raise psycopg.Rollback

    def _parcel(self, label: str, customer: int) -> tuple[Any, ...]:
        to, now = self.co.person(), self.co.now()
        value = self.pick.choice((None, self.co.amount(5, 900)))
        promised = self.pick.choice((None, now.date() + timedelta(days=self.pick.randint(1, 5))))
        where = (to.name, to.street, to.postcode, to.city, to.country)
        weight = self.co.amount(0, 30, 3)
        return (
            label,
            customer,
            self.pick.choice(SERVICES),
            *where,
            weight,
            value,
            value is not None,
            promised,
            now,
        )

    def _scan(self, label: str, kind: str) -> tuple[Any, ...]:
        depot, latitude, longitude = self.co.depot()
        now = self.co.now()
        remark = self.pick.choice((None, None, None, self.co.sentence(5)))
        who = self.pick.randint(1_000, 9_999)
        at = (latitude, longitude, now, now.replace(tzinfo=None))
        return (self.next("scan_events"), label, depot, kind, who, *at, remark)

    def _invoice(self, customer: int) -> tuple[Any, ...]:
        number, net, rate = self.next("invoices"), self.co.amount(4, 2_500), self.pick.choice(VAT)
        vat = (net * rate / 100).quantize(Decimal("0.01"))
        day = self.co.now().date()
        name = f"F{day.year}-{number:07d}"
        return (
            number, name, customer, net, rate, vat, net + vat, day, day + timedelta(days=30), self.co.letter()
        )  # fmt: skip

    def _forget(self, keys: list[Any]) -> Any:
        at = self.pick.randrange(len(keys))
        keys[at], keys[-1] = keys[-1], keys[at]
        return keys.pop()

    def jobs(self) -> Iterator[Callable[[], None]]:
        """What happens next, for ever."""
        work = {
            self.sign_up: 12, self.post: 22, self.tour: 16, self.scan: 24, self.move_house: 7, self.pay: 9,
            self.correct: 5, self.label_again: 2, self.clear: 2, self.change_mind: 1,
        }  # fmt: skip
        jobs, weights = list(work), list(work.values())
        while True:
            yield self.pick.choices(jobs, weights)[0]


def _remember(keys: list[Any], *new: Any) -> None:
    keys.extend(new)
    if len(keys) > KEPT:
        del keys[: KEPT // 2]


def paced(jobs: Iterable[Callable[[], None]], shop: Shop, rate: float, seconds: float) -> None:
    """Do the jobs at ``rate`` changes a second (0: as fast as it goes), for ``seconds`` (0: for ever)."""
    start = told = time.monotonic()
    for job in jobs:
        now = time.monotonic()
        if now - told >= 1:
            told = now
            report(shop)
        if seconds and now - start >= seconds:
            break
        ahead_s = shop.committed.total() / rate - (now - start) if rate else 0.0
        if ahead_s > 0:
            time.sleep(min(ahead_s, 1.0))
        job()


def report(shop: Shop) -> None:
    """One line: what is committed so far."""
    print(json.dumps({"transactions": shop.transactions, "changes": dict(shop.committed)}), flush=True)


def main() -> int:
    """Run until the time is up, or until told to stop."""
    parser = argparse.ArgumentParser(description="traffic of the parcel company")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=150.0, help="changes a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until SIGTERM")
    given = parser.parse_args()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with psycopg.connect(os.environ["ECLUSE_DEMO_DSN"], autocommit=True) as connection:
        shop = Shop(connection, Company(given.seed))
        try:
            paced(shop.jobs(), shop, given.rate, given.seconds)
        except KeyboardInterrupt:
            pass
        finally:
            report(shop)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
