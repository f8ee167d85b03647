"""Values that look like what their column's name says, in French and in English.

Rule: everything comes from one seed. A row is of one country: its names, places and numbers belong
together. Faker is an extra: it is imported when the first row is made.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal as Exact
from typing import Any, Final

from engine.errors import Unusable
from engine.fake.contract import Field, Row, Value, moment, number
from engine.fake.patterns import matching
from engine.schema import Boolean, Date, Decimal, Float32, Float64, Int32, Int64, Timestamp, TimestampNtz

LOCALES: Final = ("fr_FR", "en_GB")
_POOL: Final = 300  # values of a kind and country: they come again, as they do in life
_NULLS: Final = 0.06  # of the fields that may have no value
_SPAN_S: Final = 90 * 86_400  # days and instants are of the last 90 days
_TRIES: Final = 1_000
_BY_NAME: Final[Sequence[tuple[str, str]]] = (
    ("iban", "iban"),
    ("bic|swift", "swift"),
    ("siret", "siret"),
    ("siren", "siren"),
    ("tva|vat", "vat_id"),
    ("e?mail|courriel", "email"),
    ("phone|tel|telephone|mobile|fax", "phone_number"),
    ("postcode|zip|cp|postal", "postcode"),
    ("city|town|ville|commune", "city"),
    ("country|pays", "current_country"),
    ("street|address|adresse|rue", "street_address"),
    ("company|societe|raison|employer|partner|partenaire|supplier|fournisseur", "company"),
    ("first|prenom|given|forename", "first_name"),
    ("surname|family|last", "last_name"),
    ("name|nom|customer|client|contact|holder|titulaire", "name"),
    ("job|metier|profession", "job"),
    ("currency|devise", "currency_code"),
    ("uuid|guid", "uuid4"),
    ("url|site|web", "url"),
    ("colou?r|couleur", "color_name"),
    ("ean|gtin|barcode", "ean13"),
)
_AMOUNTS: Final[Sequence[tuple[str, int]]] = (
    ("quantity|qty|quantite|qte|nb|count|items", 40),
    ("rate|taux|percent|pct", 100),
    ("weight|poids|kg", 500),
    ("price|prix|unit", 300),
    ("", 5_000),
)


def _faker(locale: str, seed: int) -> Any:
    try:
        from faker import Faker
    except ImportError as error:
        hint = "pip install 'ecluse[demo]'"
        raise Unusable(
            "made-up values need Faker, which is not installed", where="fake", hint=hint
        ) from error
    faker = Faker(locale)
    faker.seed_instance(seed)
    return faker


def _words(name: str) -> set[str]:
    """The words of a column's name, without case and accents."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    return set(re.findall(r"[a-z]+", plain.encode("ascii", "ignore").decode().lower()))


def _chosen(name: str, kinds: Sequence[tuple[str, Any]]) -> Any:
    words = _words(name)
    return next(
        (k for pattern, k in kinds if not pattern or any(re.fullmatch(pattern, w) for w in words)), None
    )


class Values:
    """Rows of a contract, one after the other; ``today`` is the last day that any of them names.

    Texts are of the characters that ``encoding`` has.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        seed: int,
        today: datetime,
        encoding: str = "utf-8",
        locales: Sequence[str] = LOCALES,
    ) -> None:
        self.chance = random.Random(seed)  # noqa: S311  made-up data, no secret
        self._fields, self._today, self._encoding = fields, today, encoding
        self._fakers = [_faker(locale, seed) for locale in locales]
        self._pools: dict[tuple[str, int], list[str]] = {}
        self._given: dict[str, set[str]] = {one.name: set() for one in fields}
        self._rows = 0
        self._makers = [self._maker(one) for one in fields]

    def row(self) -> Row:
        """One more row, valid by its contract."""
        country = self.chance.randrange(len(self._fakers))
        self._rows += 1
        return tuple(self._value(*pair, country) for pair in zip(self._fields, self._makers, strict=True))

    def _value(self, of: Field, maker: Callable[[int], str], country: int) -> Value:
        if of.nullable and not of.unique and self.chance.random() < _NULLS:
            return None
        if not of.unique:
            return maker(country)
        taken = self._given[of.name]
        for _ in range(_TRIES):
            text = maker(country)
            if text not in taken:
                taken.add(text)
                return text
        raise ValueError(f"{of.name}: no more values that are not there yet, after {len(taken)}")

    def _maker(self, of: Field) -> Callable[[int], str]:
        chance = self.chance
        if of.one_of:
            return lambda _: chance.choice(of.one_of)
        if of.pattern:
            return lambda _: matching(of.pattern, chance)
        match of.type:
            case Boolean():
                return lambda _: chance.choice((of.formats.true, of.formats.false))
            case Int32() | Int64() | Decimal() | Float32() | Float64():
                return self._numbers(of)
            case Date():
                return lambda _: moment(self._moment(), of.formats.date)
            case Timestamp() | TimestampNtz():
                return lambda _: moment(self._moment(), of.formats.timestamp)
            case _:
                return self._texts(of)

    def _moment(self) -> datetime:
        return self._today - timedelta(seconds=self.chance.randrange(_SPAN_S))

    def _numbers(self, of: Field) -> Callable[[int], str]:
        scale = (
            of.type.scale
            if isinstance(of.type, Decimal)
            else 2
            if isinstance(of.type, (Float32, Float64))
            else 0
        )
        if _is_key(of) and scale == 0 and of.low is None:
            return lambda _: str(self._rows)
        usual: int = _chosen(of.name, _AMOUNTS)
        room = 10 ** (of.type.precision - scale) - 1 if isinstance(of.type, Decimal) else usual
        low = Exact(0) if of.low is None else of.low
        high = of.high if of.high is not None else max(low, Exact(min(usual, room)))
        least, most = (int(bound.scaleb(scale)) for bound in (low, high))
        return lambda _: number(Exact(self.chance.randint(least, most)).scaleb(-scale), of.formats)

    def _texts(self, of: Field) -> Callable[[int], str]:
        kind = _chosen(of.name, _BY_NAME)
        if kind is None and _is_key(of):
            return lambda _: self._cut(of, f"{of.name[:1].upper()}{self._rows:07d}")
        return lambda country: self._cut(of, self.chance.choice(self._pool(kind or "sentence", country)))

    def _cut(self, of: Field, text: str) -> str:
        return text if of.length is None else text[: of.length].rstrip()

    def _pool(self, kind: str, country: int) -> list[str]:
        found = self._pools.get((kind, country))
        if found is None:
            faker = self._fakers[country]
            make = getattr(faker, kind, None) or (lambda: faker.bothify("??#########").upper())
            found = [re.sub(r"\s+", " ", str(make())) for _ in range(_POOL)]
            found = [text for text in found if _has(self._encoding, text)] or [kind]
            self._pools[kind, country] = found
        return found


def _has(encoding: str, text: str) -> bool:
    return text.encode(encoding, "ignore").decode(encoding) == text


def _is_key(of: Field) -> bool:
    return of.unique or bool(
        _words(of.name) & {"id", "key", "number", "numero", "no", "ref", "reference", "code"}
    )
