import pytest

from engine.errors import (
    CODES,
    Act,
    EcluseError,
    Exit,
    SourceRefused,
    TemplateInvalid,
    Unmet,
    explain,
    reference,
)


def test_every_code_is_dotted_and_belongs_to_one_class() -> None:
    assert all(code.count(".") == 1 for code in CODES)
    with pytest.raises(TypeError, match=r"source\.refused is declared twice"):
        type("Again", (EcluseError,), {}, code="source.refused")


def test_the_exit_code_says_who_must_act() -> None:
    assert SourceRefused("no").exit_code == 3
    assert TemplateInvalid("no").exit_code == 2
    assert {cls.act for cls in CODES.values()} == set(Act)


def test_a_check_that_does_not_hold_ends_with_a_code_of_its_own() -> None:
    assert Unmet("2 flows have not reached the ends").exit_code == Exit.UNMET == 4
    assert "| `cli.unmet` | operator | 4 |" in reference()


def test_an_explained_error_ends_with_the_next_step() -> None:
    error = SourceRefused("password refused for role ecluse", where="shop", hint="ALTER ROLE …\necluse up")
    assert explain(error).splitlines() == [
        "source.refused: password refused for role ecluse",
        "  at   shop",
        "  next ALTER ROLE …",
        "       ecluse up",
    ]
