import re

from hypothesis import given
from hypothesis import strategies as st

from engine import names

PART = st.text(min_size=1, max_size=40)
IDENTIFIER = st.from_regex(r"[a-z][a-z0-9_-]{0,30}", fullmatch=True)


@given(st.tuples(PART, PART, PART), st.tuples(PART, PART, PART))
def test_two_tables_never_share_a_topic(a: tuple[str, str, str], b: tuple[str, str, str]) -> None:
    assert (names.topic(*a) == names.topic(*b)) == (a == b)


@given(st.tuples(PART, PART, PART))
def test_a_topic_is_a_name_that_kafka_takes(table: tuple[str, str, str]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", names.topic(*table))


@given(st.tuples(IDENTIFIER, IDENTIFIER), st.tuples(IDENTIFIER, IDENTIFIER))
def test_two_captures_never_share_a_slot(a: tuple[str, str], b: tuple[str, str]) -> None:
    assert (names.slot(*a) == names.slot(*b)) == (a == b)
    assert re.fullmatch(r"[a-z0-9_]{1,63}", names.slot(*a))


@given(PART, PART)
def test_two_columns_never_share_an_avro_name(a: str, b: str) -> None:
    assert (names.avro_name(a) == names.avro_name(b)) == (a == b)
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", names.avro_name(a))


def test_partitions_of_known_keys_stay_where_they_are() -> None:
    assert [names.partition(bytes([n]), 4) for n in range(8)] == [1, 3, 1, 3, 0, 2, 0, 2]
