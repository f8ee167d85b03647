"""Made-up people, addresses, labels and invoices of a parcel company, reproducible by seed.

Rule: everything comes from one ``random.Random``; the same seed gives the same company, whatever the clock
says. This room does not know the database.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from faker import Faker

POOL: Final = 400  # people per country: names come again, as they do in life
OPENING: Final = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)  # the company's clock starts here
DEPOTS: Final = (
    ("Lille-Lesquin", "50.573300", "3.106400"),
    ("Lyon-Corbas", "45.668100", "4.902700"),
    ("Nantes-Carquefou", "47.297600", "-1.491200"),
    ("Paris-Gennevilliers", "48.933100", "2.293700"),
    ("Daventry", "52.259400", "-1.163200"),
    ("Edinburgh South Gyle", "55.935700", "-3.302400"),
    ("Bristol Avonmouth", "51.501900", "-2.698800"),
)
SERVICES: Final = ("Colissimo", "Express 24", "Tracked 48", "Relais", "Signed For")
_WEIGHTS: Final = (8, 6, 4, 2, 3, 5, 9, 7)  # of the S10 check digit
_EXAMPLE: Final = "example"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who sends or receives parcels."""

    name: str
    email: str
    phone: str
    street: str
    postcode: str
    city: str
    country: str


def check_digit(serial: int) -> int:
    """The check digit of a UPU S10 serial number.

    >>> check_digit(47312482)
    9
    """
    total = sum(w * int(d) for w, d in zip(_WEIGHTS, f"{serial:08d}", strict=True))
    return {10: 0, 11: 5}.get(11 - total % 11, 11 - total % 11)


def tracking(service: str, serial: int, country: str) -> str:
    """A tracking number: two letters, eight digits, the check digit, the country.

    >>> tracking("RR", 47312482, "GB")
    'RR473124829GB'
    """
    return f"{service}{serial:08d}{check_digit(serial)}{country}"


class Company:
    """The parcel company's clock, people and papers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._people = [
            _person(faker, country, n)
            for country, locale in (("FR", "fr_FR"), ("GB", "en_GB"))
            for faker in (_seeded(locale, seed),)
            for n in range(POOL)
        ]
        self._words = _seeded("fr_FR", seed).words(600) + _seeded("en_GB", seed).words(400)
        self._now = OPENING

    def now(self) -> datetime:
        """The company's time: it moves by a few seconds at each look, to the microsecond."""
        self._now += timedelta(microseconds=self.random.randint(1_000, 4_000_000))
        return self._now

    def person(self) -> Person:
        """Somebody; French or British."""
        return self.random.choice(self._people)

    def label(self, serial: int) -> str:
        """A new tracking number; the serial number makes it unique."""
        return tracking(
            self.random.choice(("LX", "RR", "CP", "EE")), serial, self.random.choice(("FR", "GB"))
        )

    def depot(self) -> tuple[str, Decimal, Decimal]:
        """A depot and where it stands."""
        name, latitude, longitude = self.random.choice(DEPOTS)
        return name, Decimal(latitude), Decimal(longitude)

    def amount(self, low: int, high: int, scale: int = 2) -> Decimal:
        """An exact decimal between two whole numbers."""
        return Decimal(self.random.randint(low * 10**scale, high * 10**scale)).scaleb(-scale)

    def sentence(self, words: int) -> str:
        """Some words, with accents, an emoji now and then, and whatever people type."""
        text = " ".join(self.random.choices(self._words, k=words)).capitalize() + "."
        return text + self.random.choice(("", "", "", " 📦", ' "à côté"', " l'étage; 3ᵉ", "\n— merci"))

    def letter(self) -> str:
        """The text of an invoice: large enough to stand outside its row."""
        return "\n".join(
            self.sentence(self.random.randint(8, 16)) for _ in range(self.random.randint(40, 110))
        )


def _seeded(locale: str, seed: int) -> Faker:
    faker = Faker(locale)
    faker.seed_instance(seed)
    return faker


def _person(faker: Faker, country: str, n: int) -> Person:
    name = faker.name()
    user = "".join(c for c in faker.user_name() if c.isalnum())
    return Person(
        name=name,
        email=f"{user}{n}@{_EXAMPLE}.{'fr' if country == 'FR' else 'co.uk'}",
        phone=faker.phone_number(),
        street=faker.street_address().replace("\n", ", "),
        postcode=faker.postcode(),
        city=faker.city(),
        country=country,
    )
