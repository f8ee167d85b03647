"""From a folder to a plan, and from references to values: what every verb begins with.

Rule: connectors meet the engine here and nowhere else, and secrets become values here, right before a
connection is opened. Nothing here is opened or connected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from engine import plan, plugins, secrets, template
from engine.errors import SecretMissing
from engine.template.modelled import secret_fields

SECRETS: Final = "secrets"
"""The folder of a project that holds its secrets, a file each."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a verb is called with: the project's folder and the environment, both as given."""

    folder: Path
    environment: Mapping[str, str]


def models() -> dict[str, type[BaseModel]]:
    """The config model of every installed connector."""
    return {name: connector.config for name, connector in plugins.load().items()}


def flows() -> dict[str, type[BaseModel]]:
    """What a flow says of its source, for every installed connector that has a model for it."""
    known = plugins.load().items()
    return {name: connector.flow for name, connector in known if connector.flow is not None}


def keeps() -> dict[str, str]:
    """The tables that installed connectors keep for themselves."""
    known = plugins.load().items()
    return {name: connector.keeps.table for name, connector in known if connector.keeps is not None}


def load(call: Call) -> template.Project:
    """The project of a folder; raises with every mistake of every file."""
    return template.load(
        call.folder, environment=call.environment, models=models(), flows=flows(), keeps=keeps()
    )


def build(call: Call) -> plan.ProjectPlan:
    """The plan of a folder."""
    return plan.build(load(call))


def configure(call: Call, capture: plan.CapturePlan) -> Any:
    """A capture's config with its secrets as values: give it to ``open`` and keep it nowhere else.

    Raises SecretMissing when a secret has no value.
    """
    model = models()[capture.connector]
    values = dict(capture.config)
    for name in secret_fields(model):
        if values.get(name) is not None:
            values[name] = _value(call, values[name])
    try:
        return model.model_validate_json(json.dumps(values))
    except ValidationError:
        # the plan was valid, so a secret's value is not; it is not shown (I8)
        given = (capture.config.get(name) for name in sorted(secret_fields(model)))
        told = ", ".join(str(reference) for reference in given if reference is not None)
        raise SecretMissing(
            f"a secret's value does not fit: {told}",
            where=capture.name,
            hint=f"look at its file in {call.folder / SECRETS} or its variable: is it empty?",
        ) from None


def unopened(capture: plan.CapturePlan) -> Any:
    """A capture's config without its secrets: enough to write down what a person would run, and no more."""
    model = models()[capture.connector]
    absent = dict.fromkeys(secret_fields(model) & capture.config.keys())
    return model.model_validate_json(json.dumps({**capture.config, **absent}))


def kafka_options(call: Call, kafka: plan.KafkaPlan) -> dict[str, str]:
    """Kafka client options with the password as a value."""
    return {
        key: _value(call, text) if key == "sasl.password" else text for key, text in kafka.options.items()
    }


def _value(call: Call, text: str) -> str:
    found = secrets.resolve(
        secrets.reference(text), folder=call.folder / SECRETS, environment=call.environment
    )
    return found.get_secret_value()
