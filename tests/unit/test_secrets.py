from pathlib import Path

import pytest

from engine.errors import SecretMissing
from engine.secrets import SecretRef, resolve

REF = SecretRef("shop_password")


def test_a_secret_comes_from_its_file_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "shop_password").write_text("from the file\n")
    (tmp_path / "shop_password").chmod(0o600)
    found = resolve(REF, folder=tmp_path, environment={"ECLUSE_SECRET_SHOP_PASSWORD": "other"})
    assert found.get_secret_value() == "from the file"


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop_password").write_text("x")
    (tmp_path / "shop_password").chmod(0o644)
    with pytest.raises(SecretMissing, match="can be read by others") as caught:
        resolve(REF, folder=tmp_path, environment={})
    assert caught.value.hint.startswith("chmod 600")


def test_i8_a_secret_never_shows_in_what_is_printed(tmp_path: Path) -> None:
    found = resolve(REF, folder=tmp_path, environment={"ECLUSE_SECRET_SHOP_PASSWORD": "canary"})
    assert "canary" not in f"{found} {found!r} {REF} {REF!r}"


def test_a_missing_secret_says_both_places_where_it_may_stand(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing) as caught:
        resolve(REF, folder=tmp_path, environment={})
    assert "ECLUSE_SECRET_SHOP_PASSWORD" in caught.value.hint
    assert str(tmp_path / "shop_password") in caught.value.hint
