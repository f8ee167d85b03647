"""Whatever a file holds, reading a project ends with a plan or with mistakes that have a place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import plan
from engine.template import Mistaken
from tests.support.declared import FLOWS, PROJECT, TEMPLATE, load, project

FILES = {"ecluse.yaml": PROJECT, "flows/shop.yaml": FLOWS, "templates/own.yaml": TEMPLATE}
WORDS = (
    "${param.table} ${env.KAFKA} ${secret.x} ${source.table} ${ $$ 10s 8MiB a.b postgres own@2 shop default "
    "scd1 required ( [a- \u202e 💥 //u:p@h"
)
TREES: list[Any] = [[], {}, [[]], {"": {}}, {"checks": {}}, {"a": None}, ["${param.x}"], {"${env.KAFKA}": 1}]
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(WORDS.split()),
    st.sampled_from(TREES),
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


def replaced(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def renamed(value: Any, path: Sequence[Any], new: str) -> Any:
    if len(path) > 1:
        return replaced(value, path[:1], renamed(value[path[0]], path[1:], new))
    if isinstance(value, dict):
        return {new if key == path[0] else key: item for key, item in value.items()}
    return value


def outcome(folder: Any, files: dict[str, str]) -> None:
    told = None
    try:
        assert plan.as_json(plan.build(load(project(folder, files)))).encode()
    except Mistaken as error:
        told = error
    if told is not None:
        assert told.mistakes
        assert all(mistake.place.path and mistake.text for mistake in told.mistakes)
        assert str(told).encode()


@given(data=st.data(), name=st.sampled_from(sorted(FILES)), strange=STRANGE, key=st.text(max_size=8))
@settings(max_examples=150)
def test_a_strange_value_or_key_anywhere_is_a_mistake_or_meant(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str, strange: Any, key: str
) -> None:
    document = yaml.safe_load(FILES[name])
    path = data.draw(st.sampled_from(paths(document)))
    document = replaced(document, path, strange) if data.draw(st.booleans()) or not path else document
    if path and isinstance(document, dict):
        inner = data.draw(st.sampled_from(paths(document)))
        document = renamed(document, inner, key) if inner else document
    outcome(
        tmp_path_factory.getbasetemp() / "fuzz", {**FILES, name: json.dumps(document, ensure_ascii=False)}
    )


@given(
    data=st.data(),
    name=st.sampled_from(sorted(FILES)),
    piece=st.text("\n :-{}[]'\"$#&*!|>%@a1é\t\\", max_size=4),
)
@settings(max_examples=150)
def test_a_torn_file_is_a_mistake_or_meant(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str, piece: str
) -> None:
    text = FILES[name]
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    end = data.draw(st.sampled_from([start, min(start + 3, end), end]))
    outcome(tmp_path_factory.getbasetemp() / "fuzz", {**FILES, name: text[:start] + piece + text[end:]})
