"""From references to values: right before a connection is opened, and nowhere else."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from engine import plugins
from engine.cli import compose
from engine.cli.compose import Call
from engine.errors import SecretMissing, explain
from tests.support.declared import ENVIRONMENT, project

CANARY = "S3CR3T-canary"


def call(folder: Path, **more: str) -> Call:
    return Call(project(folder), {**ENVIRONMENT, **more})


def secret(folder: Path, name: str, value: str) -> None:
    path = folder / "secrets" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(value + "\n", encoding="utf-8")
    path.chmod(0o600)


def test_a_capture_gets_its_password_at_open_and_the_plan_does_not(tmp_path: Path) -> None:  # I8
    here = call(tmp_path)
    secret(tmp_path, "shop_password", CANARY)
    capture = compose.build(here).captures[0]
    config = compose.configure(here, capture)

    assert config.password.get_secret_value() == CANARY
    assert (config.host, config.slot, config.heartbeat_s) == ("db.example.org", "ecluse_postal_shop", 30.0)
    assert CANARY not in repr(config) + str(config) + repr(capture)


def test_kafka_options_get_their_password_from_the_environment(tmp_path: Path) -> None:
    here = call(tmp_path, ECLUSE_SECRET_KAFKA_PASSWORD=CANARY)
    options = compose.kafka_options(here, compose.build(here).kafka)

    assert options == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ecluse",
        "sasl.password": CANARY,
    }


def test_a_secret_without_a_value_says_where_to_write_it(tmp_path: Path) -> None:
    here = call(tmp_path)
    with pytest.raises(SecretMissing) as refused:
        compose.configure(here, compose.build(here).captures[0])

    assert "ECLUSE_SECRET_SHOP_PASSWORD" in explain(refused.value)
    assert "secrets/shop_password" in explain(refused.value)


def test_a_secret_that_does_not_fit_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # I8
    class Strict(BaseModel):
        model_config = ConfigDict(extra="ignore")
        password: SecretStr = Field(min_length=100)

    here = call(tmp_path)
    secret(tmp_path, "shop_password", CANARY)
    capture = compose.build(here).captures[0]
    monkeypatch.setattr(compose, "models", lambda: {"postgres": Strict})
    with pytest.raises(SecretMissing) as refused:
        compose.configure(here, capture)

    assert "${secret.shop_password}" in refused.value.what
    assert str(tmp_path / "secrets") in refused.value.hint
    assert CANARY not in explain(refused.value)


def test_two_connectors_of_one_name_are_told_with_what_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [*entry_points(group=plugins.GROUP)] * 2
    monkeypatch.setattr(plugins, "entry_points", lambda **_: twice)
    with pytest.raises(plugins.PluginBroken) as refused:
        plugins.load()

    assert refused.value.hint == "pip uninstall ecluse"


def test_a_literal_that_looks_like_a_reference_stays_a_literal(tmp_path: Path) -> None:
    here = call(tmp_path, ECLUSE_SECRET_SHOP_PASSWORD=CANARY)
    text = (tmp_path / "ecluse.yaml").read_text().replace("user: ecluse", "user: $${secret.shop_password}")
    (tmp_path / "ecluse.yaml").write_text(text)
    config = compose.configure(here, compose.build(here).captures[0])

    assert config.user == "${secret.shop_password}"


def test_connectors_are_found_by_their_entry_points() -> None:
    found = plugins.load()

    assert list(found) == sorted(found)
    assert found["postgres"].name == "postgres"
