"""A connector of a stranger: whatever its model may hold is a key with our words, and nothing is guessed."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from connectors.files.feeds import Feed
from connectors.postgres.config import PostgresConfig
from engine import plan, template
from engine.template import Mistaken, modelled
from engine.template.mistakes import Mistakes
from engine.template.nodes import documents
from engine.template.reader import Reader
from engine.template.shapes import Fields
from tests.support.declared import project


def only_read(word: object) -> object:
    if word == "written":
        raise ValueError("a gauge is never written")
    return word


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Needle(Strict):
    at: int = Field(ge=0, lt=360)
    glow_s: float = Field(default=0.5, gt=0, le=60)
    kind: Literal["needle"] = "needle"


class Config(Strict):
    door: str = Field(min_length=1)
    key: SecretStr | None = None
    patience_s: int = Field(default=5, ge=1)


class Gauge(Strict):
    """Every kind of field that a model may have."""

    name: str = Field(min_length=1, max_length=5, pattern="^[a-z]+$")
    somewhere: str = Field(default="see", pattern="ee")
    every_s: int = Field(default=60, ge=10)
    limit_bytes: int = Field(default=1024, ge=1, le=2**20)
    level: float = Field(default=0.5, ge=0, le=1)
    steps: int = Field(default=1, gt=0)
    mode: Annotated[Literal["read", "watch"], BeforeValidator(only_read)] = "read"
    loud: bool = False
    since: date | None = None
    note: str | None = "none"
    needle: Needle = Needle(at=0)
    needles: Annotated[tuple[Needle, ...], Field(strict=False, max_length=2)] = ()
    by_name: dict[str, Needle | None] = Field(default_factory=dict)
    words: list[Annotated[str, Field(min_length=2)]] = Field(default_factory=list)
    grid: tuple[tuple[int, ...], ...] = ()

    @model_validator(mode="after")
    def _quiet(self) -> Gauge:
        if self.loud and self.mode == "watch":
            raise ValueError("a gauge that is watched is quiet")
        return self


PROJECT = """\
apiVersion: ecluse/v1
kind: Project
metadata: {name: lab}
spec:
  connections:
    shelf: {type: gauge, door: left, patience: 1m, key: "${secret.door}"}
"""
TEMPLATE = """\
apiVersion: ecluse/v1
kind: FlowTemplate
metadata: {name: gauge, version: 1.0.0}
spec:
  params: {more: {type: map, default: {}}, name: {type: string, default: abc}}
  flow:
    source: {type: gauge, connection: shelf, table: a.b, name: "${param.name}", by_name: "${param.more}"}
    sink: {type: delta, table: "x.y", mode: append}
"""
FLOW = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: g}
spec: {template: gauge@1}
"""
MODELS: dict[str, type[BaseModel]] = {"gauge": Config, "postgres": PostgresConfig}


def load(folder: Path, source: str = "") -> template.Project:
    text = TEMPLATE.replace("by_name:", f"{source}, by_name:") if source else TEMPLATE
    files = {"ecluse.yaml": PROJECT, "flows/shop.yaml": FLOW, "templates/gauge.yaml": text}
    return template.load(project(folder, files), environment={}, models=MODELS, flows={"gauge": Gauge})


def said(folder: Path, source: str = "") -> dict[str, Any]:
    return dict(plan.build(load(folder, source)).flows[0].table.said)


def told(folder: Path, source: str) -> str:
    with pytest.raises(Mistaken) as caught:
        load(folder, source)
    (mistake,) = caught.value.mistakes
    return f"{mistake.text.partition(', in flow')[0]}"


def test_what_is_not_said_is_the_models_default_written_out(tmp_path: Path) -> None:
    assert said(tmp_path) == Gauge(name="abc").model_dump(mode="json")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("every: 2m", {"every_s": 120}),
        ("limit: 4KiB", {"limit_bytes": 4096}),
        ("level: 1", {"level": 1.0}),
        ("since: 2026-11-22", {"since": "2026-11-22"}),
        ("note: null", {"note": None}),
        ("somewhere: beech", {"somewhere": "beech"}),
        ('note: "a\\x1bb"', {"note": "a\x1bb"}),
        ("needle: {at: 9, glow: 250ms}", {"needle": {"at": 9, "glow_s": 0.25, "kind": "needle"}}),
        ("words: [ab, cd]", {"words": ["ab", "cd"]}),
        ("grid: [[1, 2], []]", {"grid": [[1, 2], []]}),
        ("needles: [{at: 1}]", {"needles": [{"at": 1, "glow_s": 0.5, "kind": "needle"}]}),
    ],
)
def test_a_key_is_read_in_the_units_of_people(tmp_path: Path, source: str, expected: dict[str, Any]) -> None:
    assert said(tmp_path, source) == {**said(tmp_path), **expected}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("every: 5s", '"every" must be between 10s and 3650d'),
        ("every: 10500ms", '"every" must be a number of whole seconds'),
        ("every_s: 60", 'unknown key "every_s"'),
        ("limit: 2MiB", '"limit" must be between 1B and 1MiB'),
        ("level: 1.5", '"level" must be between 0 and 1'),
        ("steps: 0", '"steps" must be at least 1'),
        ("mode: written", '"mode": a gauge is never written'),
        ("mode: red", "\"mode\" should be 'read' or 'watch'"),
        ("mode: watch, loud: true", "a gauge that is watched is quiet"),
        ("loud: yes", '"loud" must be true or false, not text'),
        ("since: tomorrow", '"since" should be a valid date'),
        ("somewhere: ash", "\"somewhere\" String should match pattern 'ee'"),
        ("needle: {}", '"at" is missing in "needle"'),
        ("needle: {at: 360}", '"at" should be less than 360'),
        ("needle: {at: 1, glow: 61s}", '"glow" must be between 1ms and 1m'),
        ("needle: {at: 1, kind: needle}", 'unknown key "kind"'),
        ("needles: [{at: 1}, {at: 2}, {at: 3}]", '"needles" must have between 0 and 2 entries'),
        ("needles: [{at: 1}, {at: 400}]", '"at" should be less than 360'),
        ("words: [a]", '"words" must have between 2 and 1000 characters'),
        ("grid: [[1, x]]", '"grid" must be a whole number, not text'),
        ("name2: x", 'unknown key "name2"'),
    ],
)
def test_a_mistake_is_told_in_our_words_where_we_have_them(tmp_path: Path, source: str, text: str) -> None:
    assert told(tmp_path, source).startswith(text)


def test_a_map_of_models_may_come_from_a_parameter(tmp_path: Path) -> None:
    flow = FLOW.replace("gauge@1}", "gauge@1, params: {more: {b: {at: 2}, a: null}}}")
    files = {"ecluse.yaml": PROJECT, "flows/shop.yaml": flow, "templates/gauge.yaml": TEMPLATE}
    made = template.load(project(tmp_path, files), environment={}, models=MODELS, flows={"gauge": Gauge})
    by_name = plan.build(made).flows[0].table.said["by_name"]

    assert list(by_name.items()) == [("a", None), ("b", {"at": 2, "glow_s": 0.5, "kind": "needle"})]


def test_the_type_of_a_source_may_come_from_a_parameter(tmp_path: Path) -> None:
    text = TEMPLATE.replace("name: {type", "kind: {type: string, default: gauge}, name: {type")
    text = text.replace("type: gauge,", 'type: "${param.kind}",')
    files = {"ecluse.yaml": PROJECT, "flows/shop.yaml": FLOW, "templates/gauge.yaml": text}
    made = template.load(project(tmp_path, files), environment={}, models=MODELS, flows={"gauge": Gauge})

    assert plan.build(made).flows[0].table.said["name"] == "abc"


@pytest.mark.parametrize(("longest", "good"), [(1, True), (2, False)])
def test_a_parameter_of_one_character_may_be_a_tab(tmp_path: Path, longest: int, good: bool) -> None:  # noqa: FBT001
    text = TEMPLATE.replace("name: {type: string, default: abc}", "name: {type: string, default: abc}, "
                            f'tab: {{type: string, max_length: {longest}, default: "\\t"}}')  # fmt: skip
    text = text.replace("by_name:", 'note: "${param.tab}", by_name:')
    files = {"ecluse.yaml": PROJECT, "flows/shop.yaml": FLOW, "templates/gauge.yaml": text}
    folder = project(tmp_path, files)
    if good:
        made = template.load(folder, environment={}, models=MODELS, flows={"gauge": Gauge})
        assert plan.build(made).flows[0].table.said["note"] == "\t"
    else:
        with pytest.raises(Mistaken, match='a control character stands in "tab"'):
            template.load(folder, environment={}, models=MODELS, flows={"gauge": Gauge})


def test_a_connection_keeps_its_secret_a_reference(tmp_path: Path) -> None:  # I8
    config = plan.build(load(tmp_path)).captures[0].config

    assert config == {"door": "left", "key": "${secret.door}", "patience_s": 60}
    assert modelled.secret_fields(Config) == {"key"}


def test_what_was_read_of_a_feed_is_validated_where_it_stands() -> None:
    mistakes = Mistakes()
    (node,) = documents(b"partner: a\npattern: x\njson_lines: {columns: {a: b..c}}\n", "x", mistakes) or []
    read = Reader(mistakes).read(Fields(modelled.of_flow(Feed)), node, "feed")
    assert read is not None
    written = modelled.entered(Feed, read)
    assert modelled.validated(Feed, written, written.plain, mistakes) is None

    (mistake,) = mistakes.sorted()
    assert str(mistake.place) == "x:3:27"
