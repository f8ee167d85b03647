import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import schema
from engine.schema import Change, Decimal, Int32, Int64, String, Type, evolve

DECIMALS = st.integers(1, 38).flatmap(lambda p: st.builds(Decimal, st.just(p), st.integers(0, p)))
TYPES: st.SearchStrategy[Type] = st.one_of(
    DECIMALS,
    st.sampled_from(
        [
            schema.Boolean(),
            Int32(),
            Int64(),
            schema.Float32(),
            schema.Float64(),
            String(),
            schema.Binary(),
            schema.Date(),
            schema.Timestamp(),
            schema.TimestampNtz(),
        ]
    ),
)


@given(TYPES)
def test_a_type_comes_back_from_its_avro_form_nullable_or_not(type_: Type) -> None:
    assert schema.from_avro(schema.avro(type_)) == type_
    assert schema.from_avro(["null", schema.avro(type_)]) == type_


@pytest.mark.parametrize(
    "stranger", ["fixed", {"type": "long", "logicalType": "time-micros"}, {"type": "map"}]
)
def test_an_avro_schema_that_is_none_of_ours_is_refused(stranger: str | dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no type of ours"):
        schema.from_avro(stranger)


@given(TYPES, TYPES)
def test_widening_goes_one_way_only(a: Type, b: Type) -> None:
    if a != b and schema.widens(a, b):
        assert not schema.widens(b, a)


def test_a_changed_key_a_dropped_and_an_altered_column_are_told_apart() -> None:
    old: schema.Shape = {"id": Int32(), "name": String(), "weight": Decimal(8, 2)}
    new: schema.Shape = {"id": Int32(), "weight": Decimal(8, 3), "note": String()}
    kinds = [(d.kind, d.column) for d in evolve(old, new, ["id"], ["id", "weight"])]
    assert kinds == [
        (Change.DROP_COLUMN, "name"),
        (Change.ALTER_TYPE, "weight"),
        (Change.ADD_COLUMN, "note"),
        (Change.CHANGE_KEY, "id,weight"),
    ]


def test_the_same_schema_differs_in_nothing() -> None:
    assert evolve({"a": Int32()}, {"a": Int32()}, ["a"], ["a"]) == ()
