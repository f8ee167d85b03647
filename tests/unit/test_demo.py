"""The demo's own programs: made-up data is reproducible, and the verdict can say no."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import examples.demo
from examples.demo import canonical, fake, verdict
from examples.demo.verdict import Change, Verdict, compare, compare_changes, folded

HOME = Path(examples.demo.__file__).parent


def test_the_same_seed_gives_the_same_company() -> None:
    def some(seed: int) -> list[object]:
        company = fake.Company(seed)
        return [(company.person(), company.now(), company.label(n), company.letter()) for n in range(5)]

    assert some(3) == some(3)
    assert some(3) != some(4)


@given(st.integers(0, 99_999_999))
def test_one_wrong_digit_never_passes_the_check_of_a_tracking_number(serial: int) -> None:
    digits = f"{serial:08d}"
    for at in range(8):
        wrong = digits[:at] + str((int(digits[at]) + 1) % 10) + digits[at + 1 :]
        assert int(wrong) != serial
        # remainders 0 and 1 share no digit with their neighbours: only 5 and 0 stand for two remainders
        if fake.check_digit(serial) not in (0, 5):
            assert fake.check_digit(int(wrong)) != fake.check_digit(serial)


def test_every_label_of_a_company_is_new() -> None:
    company = fake.Company(1)
    labels = [company.label(n) for n in range(1000)]
    assert len(set(labels)) == 1000
    assert all(int(label[10]) == fake.check_digit(int(label[2:10])) for label in labels)


@given(
    st.lists(st.text(max_size=6) | st.none(), max_size=4),
    st.lists(st.text(max_size=6) | st.none(), max_size=4),
)
def test_two_rows_have_one_text_only_if_they_are_equal(a: list[str | None], b: list[str | None]) -> None:
    def text(row: list[str | None]) -> str:
        return "".join(map(canonical.of, row))

    assert (text(a) == text(b)) == (a == b)


@given(st.lists(st.integers(0, canonical.MODULUS - 1), max_size=20))
def test_the_hash_of_a_table_knows_no_order(digests: list[int]) -> None:
    assert canonical.total(digests) == canonical.total(sorted(digests))


def test_the_flows_of_the_demo_are_read_with_their_overrides() -> None:
    flows = {flow.name: flow for flow in verdict.flows(HOME, Path("lake"))}
    assert flows["shop.scans"].mode == "append"
    assert flows["shop.parcels"].path == Path("lake/bronze/parcels")


def row(digest: int, at: int = 1, op: str = "c") -> Change:
    return Change(op, (0, at, 0), digest)


def test_a_verdict_holds_when_every_row_is_equal_or_waits() -> None:
    found = Verdict("f")
    compare(found, {("1",): 7, ("2",): 8}, {("1",): row(7)}, {("2",): (0, 5, 0)})
    assert (found.equal, found.waiting, found.holds) == (1, 1, True)


def test_a_dropped_a_changed_and_an_invented_row_are_named() -> None:
    found = Verdict("f")
    compare(found, {("1",): 7, ("2",): 8}, {("2",): row(9), ("3",): row(1)}, {})
    assert (found.missing, found.different, found.extra, found.holds) == (1, 1, 1, False)
    assert found.keys == {"missing": ["1"], "different": ["2"], "extra": ["3"]}


def test_an_old_quarantined_change_excuses_nothing() -> None:
    found = Verdict("f")
    compare(found, {("1",): 7}, {("1",): row(9, at=20)}, {("1",): (0, 5, 0)})
    assert (found.waiting, found.different) == (0, 1)


def test_a_lost_and_a_doubled_change_turn_the_verdict_red() -> None:
    committed: Counter[tuple[verdict.Key, str, int]] = Counter({(("1",), "c", 7): 1, (("1",), "u", 8): 1})
    lost, doubled = Verdict("f"), Verdict("f")
    compare_changes(lost, committed, Counter({(("1",), "c", 7): 1}), {})
    compare_changes(doubled, committed, committed + committed, {})
    assert (lost.lost, lost.holds) == (1, False)
    assert (doubled.doubled, doubled.holds) == (2, False)


def test_the_newest_change_of_a_key_rules_whatever_the_order_of_arrival() -> None:
    log = [(("1",), row(3, at=3)), (("1",), row(1, at=1)), (("2",), row(1)), (("2",), row(0, at=2, op="d"))]
    assert folded(log) == folded(reversed(log)) == {("1",): row(3, at=3)}
