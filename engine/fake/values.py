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
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from engine.contract import Moment, Numeric, Truth
from engine.contract.making import Row, Value
from engine.errors import Unusable
from engine.fake.contract import Field, moment, number, truth
from engine.fake.patterns import matching
from engine.schema import Decimal, Float32, Float64, String

LOCALES: Final = ("fr_FR", "en_GB")
_POOL: Final = 300  # values of a kind and country: they come again, as they do in life
_NULLS: Final = 0.06  # of the fields that may have no value
_SPAN_DAYS: Final = 90
_SEVEN: Final = 7  # by now every clock shows an hour that it shows once
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


@lru_cache(maxsize=8)
def _faker(locale: str) -> Any:
    try:
        from faker import Faker
    except ImportError as error:
        hint = "pip install 'ecluse[demo]'"
        raise Unusable(
            "made-up values need Faker, which is not installed", where="fake", hint=hint
        ) from error
    try:
        return Faker(locale)
    except AttributeError as error:
        raise ValueError(f"there are no names and places of {locale}: fr_FR and en_GB are") from error


@lru_cache(maxsize=256)
def _pool(kind: str, locale: str, seed: str, encoding: str) -> Sequence[str]:
    """Some values of a kind, of a country: they come again, as they do in life."""
    faker = _faker(locale)
    faker.seed_instance(f"{seed}:{kind}")
    make = getattr(faker, kind, None) or (lambda: faker.bothify("??#########").upper())
    found = [re.sub(r"\s+", " ", str(make())) for _ in range(_POOL)]
    return [text for text in found if _has(encoding, text)] or [kind]


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

    What stands in ``seed`` before a colon, texts are chosen from; the rest says which come. ``before`` is how
    many rows there were in earlier files: keys go on from there. Texts are of the
    characters that ``encoding`` has.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        seed: str,
        today: datetime,
        encoding: str = "utf-8",
        locales: Sequence[str] = LOCALES,
        before: int = 0,
    ) -> None:
        self.chance = random.Random(seed)  # noqa: S311  made-up data, no secret
        self._today, self._encoding = today, encoding
        self._locales, self._seed = locales, seed.partition(":")[0]
        for locale in locales:
            _faker(locale)
        self._rows = before
        self._givers = [self._giver(one) for one in fields]

    def row(self) -> Row:
        """One more row, valid by its contract and its checks."""
        country = self.chance.randrange(len(self._locales))
        self._rows += 1
        return tuple([give(country) for give in self._givers])

    def _giver(self, of: Field) -> Callable[[int], Value]:
        """What gives a column's values: all that is the same for every row is asked once."""
        maker, fitting, chance = self._maker(of), _fitting(of), self.chance.random
        nothing, taken = of.nothing, set[str]()

        def value(country: int) -> Value:
            return fitting(maker(country))

        def maybe(country: int) -> Value:
            return nothing if chance() < _NULLS else fitting(maker(country))

        def once(country: int) -> Value:
            for _ in range(_TRIES):
                text = fitting(maker(country))
                if text not in taken:
                    taken.add(text)
                    return text
            raise ValueError(f"{of.name}: no more values that are not there yet, after {len(taken)}")

        if of.key and not _counted(of):
            return once
        return maybe if of.can_be_nothing and not of.needed else value

    def _maker(self, of: Field) -> Callable[[int], str]:
        chance = self.chance
        if of.one_of:
            return lambda _: chance.choice(of.one_of)
        if of.pattern:
            return lambda _: matching(of.pattern, chance)
        match of.looks.format:
            case Truth() as words:
                return lambda _: truth(chance.random() < 0.5, words)  # noqa: PLR2004 - one of two
            case Numeric() as how:
                return self._numbers(of, how)
            case Moment() as clock:
                return lambda _: moment(self._moment(clock.zone), clock)
            case _:
                return self._texts(of)

    def _moment(self, zone: str) -> datetime:
        day = self._today - timedelta(days=self.chance.randrange(1, _SPAN_DAYS))
        seconds = self.chance.randrange(10 * 3_600)
        clock = day.replace(hour=_SEVEN + seconds // 3_600, minute=seconds // 60 % 60, second=seconds % 60)
        return clock.replace(tzinfo=ZoneInfo(zone)) if zone else clock

    def _numbers(self, of: Field, how: Numeric) -> Callable[[int], str]:
        scale = (
            of.type.scale
            if isinstance(of.type, Decimal)
            else 2
            if isinstance(of.type, (Float32, Float64))
            else 0
        )
        if _counted(of):
            return lambda _: number(Exact(self._rows), how)
        usual: int = _chosen(of.name, _AMOUNTS)
        digits = of.type.precision - scale if isinstance(of.type, Decimal) else 9
        if of.room.width is not None:
            marks = (scale + 1 if scale and not how.implied else how.implied) + len(how.thousands) * 2
            digits = min(digits, of.room.width - marks)
        room = 10 ** max(digits, 0) - 1
        low = Exact(0) if of.low is None else of.low
        high = of.high if of.high is not None else max(low, Exact(min(usual, room)))
        least, most = (int(bound.scaleb(scale)) for bound in (low, high))
        return lambda _: number(Exact(self.chance.randint(least, most)).scaleb(-scale), how)

    def _texts(self, of: Field) -> Callable[[int], str]:
        kind = _chosen(of.name, _BY_NAME)
        if _counted(of):
            letter = of.name[:1].upper()
            width = (of.widest or 8) - 1
            return lambda _: f"{letter}{self._rows:0{min(width, 7)}d}" if width else str(self._rows)
        return lambda country: self._cut(of, self._one_of(kind or "sentence", country))

    def _one_of(self, kind: str, country: int) -> str:
        return self.chance.choice(_pool(kind, self._locales[country], self._seed, self._encoding))

    def _cut(self, of: Field, text: str) -> str:
        most = of.widest
        if most is not None and of.room.in_bytes:
            return text.encode(self._encoding)[:most].decode(self._encoding, "ignore").rstrip()
        return (text if most is None else text[:most].rstrip()).ljust(of.shortest, "x")


def _has(encoding: str, text: str) -> bool:
    return text.encode(encoding, "ignore").decode(encoding) == text


def _fitting(of: Field) -> Callable[[str], str]:
    """What makes a text as wide as it has to be, of characters that can be written."""
    width, how, name = of.room.width, of.looks.format, of.name
    if isinstance(of.type, String):
        never = dict.fromkeys(map(ord, of.room.never), " ")
        return (lambda text: text.translate(never)) if never else str
    if width is None:
        return str
    fills = of.room.fill and isinstance(how, Numeric)
    padded = not of.room.fill or of.column.trim in ("right", "both")

    def fit(text: str) -> str:
        if len(text) > width:
            raise ValueError(f"{name}: {text} is wider than {width}, and a {of.column.type} is not cut")
        if len(text) < width and fills and isinstance(how, Numeric):
            return _filled(text, width, how)
        if len(text) < width and not padded:
            raise ValueError(f"{name}: {text} does not fill {width}, and nothing takes blanks off again")
        return text

    return fit


def _filled(text: str, width: int, how: Numeric) -> str:
    """A number with zeros in front."""
    if how.thousands and how.thousands in text:
        raise ValueError(f"{text} does not fill {width}, and zeros in front are no groups of three")
    sign = text[-1:] if text[-1:] == "-" else ""
    return text.removesuffix("-").zfill(width - len(sign)) + sign if sign else text.zfill(width)


def _counted(of: Field) -> bool:
    """Whether its values are counted: they are its rows' numbers."""
    if of.one_of or of.pattern or not (of.key or _named_key(of)):
        return False
    if of.number:
        scale = (
            of.type.scale if isinstance(of.type, Decimal) else int(isinstance(of.type, (Float32, Float64)))
        )
        return scale == 0 and of.low is None and of.high is None
    return isinstance(of.type, String) and (of.key or _chosen(of.name, _BY_NAME) is None)


def _named_key(of: Field) -> bool:
    return bool(_words(of.name) & {"id", "key", "number", "numero", "no", "ref", "reference", "code"})
