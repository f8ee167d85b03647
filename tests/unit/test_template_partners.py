"""A flow of partner files: declared by the connector's model, planned whole, and no file is read but ours."""

from __future__ import annotations

import ast
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from connectors.files.feeds import Feed
from engine import plan
from engine.template import Trial, shipped
from tests.support import declared
from tests.support.partners import (
    FILES,
    FLOWS,
    MODELS,
    PROJECT,
    SCANS,
    WIDTHS,
    built,
    flow,
    load,
    mistakes,
    project,
)

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = (GOLDEN / "partner_mistakes.txt").read_text(encoding="utf-8").split("\n\n")


def test_the_plan_says_every_value_of_a_feed_and_where_it_came_from(tmp_path: Path) -> None:
    resolved = plan.resolve(load(project(tmp_path)))
    lines = [f"{path} = {value}    {place}\n" for path, value, place in resolved.lines()]
    told = "".join(line for line in lines if ".said" in line or "captures." in line)

    assert told == (GOLDEN / "partner_plan.txt").read_text(encoding="utf-8")


def test_what_a_plan_says_of_a_feed_is_what_its_model_takes(tmp_path: Path) -> None:
    made = built(tmp_path)

    assert len(made.flows) == 5
    for each in made.flows:
        # as it stands in the plan, and as it comes back from the plan's text
        for said in (each.table.said, json.loads(plan.as_json(each))["table"]["said"]):
            assert Feed.model_validate(said).model_dump(mode="json") == each.table.said
        assert (each.table.on_truncate, each.table.snapshot, each.table.exclude) == ("apply", None, ())


def test_a_feed_is_what_its_flow_declares(tmp_path: Path) -> None:
    made = built(tmp_path)
    orders, returns, scans = (
        Feed.model_validate(flow(made, name).table.said)
        for name in ("acme.orders", "acme.returns", "post_scans")
    )

    assert orders.delimited is not None
    assert (orders.delimited.delimiter, orders.delimited.columns) == ("\t", ("id", "city", "weight"))
    assert (orders.keys, orders.ready.by, orders.ready.stable_s) == (("id",), "stable", 30.0)
    assert returns.delimited is not None
    assert returns.delimited.quote is None
    assert (returns.container.kind, returns.encoding, returns.ready.suffix) == ("gz", "cp1252", ".done")
    assert returns.controls.sums["amount"].format.thousands == " "
    assert scans.fixed_width is not None
    assert [one.behind for one in scans.fixed_width.records["detail"].fields] == [13, 40]
    assert (scans.partner, scans.folder, scans.ready.stable_s) == ("la_poste", "in/scans", 90.0)


def test_a_contract_stands_in_the_flow_or_in_a_file_and_may_be_absent(tmp_path: Path) -> None:
    made = built(tmp_path)
    found = {each.name: [column.name for column in each.contract] for each in made.flows}

    assert found["acme.orders"] == ["id", "city", "weight"]
    assert found["post_scans"] == ["parcel", "place"]
    assert found["acme.returns"] == found["events"] == found["bills"] == []


def test_a_feed_names_its_topic_and_its_table(tmp_path: Path) -> None:
    made = built(tmp_path)
    scans = flow(made, "post_scans")

    assert (scans.table.schema, scans.table.table) == ("la_poste", "scans")
    assert (scans.topic.name, scans.sink.table) == ("sftp.la_poste.scans", "bronze.scans")


def test_a_capture_has_one_compacted_topic_for_what_its_connector_keeps(tmp_path: Path) -> None:
    made = built(tmp_path)
    drop, sftp = made.captures

    kept = drop.topics["drop._files"]
    assert (kept.name, kept.partitions, kept.compact) == ("drop.drop._files", 1, True)
    assert sorted(drop.topics) == ["acme.bills", "acme.events", "acme.orders", "acme.returns", "drop._files"]
    assert sorted(sftp.topics) == ["la_poste.scans", "sftp._files"]
    assert not any(each.topic.compact for each in made.flows)
    assert set(made.topics) == {topic.name for each in made.captures for topic in each.topics.values()}
    assert drop.config["poll_s"] == 2.0


def test_a_connection_without_flows_keeps_nothing(tmp_path: Path) -> None:
    text = PROJECT + "    idle: {type: files, root: /srv/idle}\n"
    idle = next(each for each in built(tmp_path, {"ecluse.yaml": text}).captures if each.name == "idle")

    assert idle.topics == {}


def test_a_connector_of_tables_keeps_no_topic(tmp_path: Path) -> None:
    made = plan.build(declared.load(declared.project(tmp_path)))

    assert not any(topic.compact for each in made.captures for topic in each.topics.values())
    assert {tuple(each.table.said) for each in made.flows} == {()}


def test_a_layout_in_a_file_is_in_the_plan_by_its_content(tmp_path: Path) -> None:
    inline = json.dumps(yaml.safe_load(SCANS))
    here: dict[str, str | bytes] = {"flows/post.yaml": WIDTHS.replace("{file: layouts/scans.yaml}", inline)}
    moved: dict[str, str | bytes] = {
        "flows/post.yaml": WIDTHS.replace("layouts/scans.yaml", "a/b c/é.yaml"),
        "a/b c/é.yaml": SCANS,
    }
    plans = [
        plan.as_json(replace(built(tmp_path / name, files), folder=""))
        for name, files in (("file", None), ("here", here), ("moved", moved))
    ]

    assert len(set(plans)) == 1
    assert "layouts/" not in plans[0]
    named = ("layouts/returns.yaml", "layouts/scan_types.yaml", "layouts/scans.yaml")
    assert load(tmp_path / "file").files[-3:] == named


def shuffled(value: object, order: random.Random) -> object:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None, phases=[Phase.generate])  # to shrink an order tells nobody more
def test_i6_the_order_of_keys_in_a_flow_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("project")
    expected = built(folder)
    documents: dict[str, str | bytes] = {
        name: yaml.safe_dump_all(
            [shuffled(one, order) for one in yaml.safe_load_all(text)], sort_keys=False, allow_unicode=True
        )
        for name, text in FILES.items()
    }
    made = built(folder, documents)

    assert plan.as_json(made) == plan.as_json(expected)
    # nor what a connector is handed, which the plan's text would not tell
    assert [repr(each.table) for each in made.flows] == [repr(each.table) for each in expected.flows]


# --- mistakes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS)
def test_a_mistake_in_a_feed_says_where_it_is_and_what_was_meant(tmp_path: Path, block: str) -> None:
    path, old, new, *told = block.rstrip("\n").split("\n")
    name = path.removeprefix("@ ")
    before, after = ast.literal_eval(old[2:]), ast.literal_eval(new[2:])
    assert before in FILES[name]
    edited = FILES[name].replace(before, after, 1)

    assert mistakes(project(tmp_path, {name: edited})) == [line[2:] for line in told]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd.yaml", "../layouts/scans.yaml", "layouts/../../x.yaml", "./layouts/scans.yaml",
        "layouts//scans.yaml", "layouts\\\\scans.yaml", "layouts/.hidden.yaml", ".ecluse/x.yaml",
        "layouts/scans.yml", "layouts/scans", ".yaml", "file:///etc/x.yaml",
        "layouts/", "layouts/\\0.yaml", "~/x.yaml/",
    ],
)  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_no_path(tmp_path: Path, path: str) -> None:
    (tmp_path / "layouts").mkdir()
    (tmp_path / "x.yaml").write_text(SCANS)
    text = WIDTHS.replace("{file: layouts/scans.yaml}", f'{{file: "{path}"}}')
    (told,) = mistakes(project(tmp_path / "project", {"flows/post.yaml": text}))

    assert told.startswith("flows/post.yaml:12:20: template.")
    assert '"file"' in told


def linked(folder: Path, target: Path) -> list[str]:
    layouts = project(folder) / "layouts" / "scans.yaml"
    layouts.unlink()
    layouts.symlink_to(target)
    return mistakes(folder)


def test_a_link_out_of_the_project_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(SCANS)
    told = linked(tmp_path / "project", tmp_path / "outside.yaml")

    assert told == ["layouts/scans.yaml: template.outside: a symbolic link leaves the project"]


def test_a_link_within_the_project_is_followed(tmp_path: Path) -> None:
    project(tmp_path, {"layouts/2026.yaml": SCANS})
    assert linked(tmp_path, tmp_path / "layouts" / "2026.yaml") == []


def test_a_secret_is_not_read_as_a_layout(tmp_path: Path) -> None:
    project(tmp_path, {"secrets/x.yaml": "S3CR3T-canary: 1\n"})
    told = linked(tmp_path, tmp_path / "secrets" / "x.yaml")

    assert told == ["layouts/scans.yaml: template.outside: a secret is no part of a flow"]
    text = WIDTHS.replace("layouts/scans.yaml", "secrets/x.yaml")
    assert mistakes(
        project(tmp_path / "two", {"flows/post.yaml": text, "secrets/x.yaml": "S3CR3T: 1\n"})
    ) == ["secrets/x.yaml: template.outside: a secret is no part of a flow"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "flows/post.yaml:12:20: template.missing-file: there is no file"),
        (b"", "layouts/scans.yaml:1:1: template.empty: the file is empty"),
        (
            b"a: 1\n---\nb: 2\n",
            "layouts/scans.yaml:3:1: template.wrong-type: the file holds several documents",
        ),
        (b"- a\n", 'layouts/scans.yaml:1:1: template.wrong-type: "fixed_width" must be a map of keys'),
        (b"unit: \xff\n", "layouts/scans.yaml:1:7: template.unreadable"),
        (b"unit: &a bytes\n", "layouts/scans.yaml:1:7: template.alias"),
        (b"unit: !!python/object:os.system bytes\n", "layouts/scans.yaml:1:7: template.tag"),
        (b"unit: a\nunit: b\n", "layouts/scans.yaml:2:1: template.duplicate-key"),
        (b"unit: ${param.x}\n", "layouts/scans.yaml:1:7: template.unresolved-token"),
        (b"unit: ${secret.x}\n", "layouts/scans.yaml:1:7: template.unresolved-token"),
        (b"[" * 60, "layouts/scans.yaml:1:51: template.too-deep"),
        (b"x" * 1_000_001, "layouts/scans.yaml:1:1: template.too-large"),
        (b"{file: layouts/scans.yaml}\n", "layouts/scans.yaml:1:8: template.outside: no file is named here"),
    ],
)
def test_a_layout_is_read_as_carefully_as_any_file(tmp_path: Path, content: bytes | None, told: str) -> None:
    project(tmp_path)
    if content is None:
        (tmp_path / "layouts" / "scans.yaml").unlink()
    else:
        (tmp_path / "layouts" / "scans.yaml").write_bytes(content)
    found = mistakes(tmp_path)

    assert found
    assert found[0].startswith(told)


def test_a_pipe_in_the_place_of_a_layout_holds_nobody(tmp_path: Path) -> None:
    path = project(tmp_path) / "layouts" / "scans.yaml"
    path.unlink()
    os.mkfifo(path)

    assert mistakes(tmp_path) == ["layouts/scans.yaml: template.unreadable: not a regular file"]


def test_a_layout_of_many_flows_tells_its_mistakes_once(tmp_path: Path) -> None:
    more = WIDTHS.replace("post_scans", "again").replace("feed: scans", "feed: again")
    files = {"flows/more.yaml": more, "layouts/scans.yaml": "unit: &u [1]\n"}
    told = mistakes(project(tmp_path, files))

    assert len(told) == 1
    assert told[0].startswith("layouts/scans.yaml:1:7: template.alias")


def test_two_flows_on_one_feed_share_its_topic(tmp_path: Path) -> None:
    more = WIDTHS.replace("post_scans", "again").replace("ready:", "layer: silver\n    ready:")
    made = built(tmp_path, {"flows/more.yaml": more})

    assert flow(made, "again").topic == flow(made, "post_scans").topic
    assert [table.table for table in made.captures[1].tables] == ["scans"]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("SCAN*.txt", "SCAN_*.txt", "pattern"),
        ("90s", "91s", "ready"),
        ("folder: in/scans", "encoding: cp1252", "encoding"),
        ("{file: layouts/scans.yaml}", "{file: layouts/turned.yaml}", "fixed_width"),
    ],
)
def test_two_flows_on_one_feed_agree_on_all_that_they_say(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    more = WIDTHS.replace("post_scans", "again").replace("ready:", "layer: silver\n    ready:")
    # what order the fields are declared in is the order of the columns
    head, one, two = SCANS.split("      - ")
    turned = f"{head}      - {two}      - {one}"
    files = {"flows/more.yaml": more.replace(old, new), "layouts/turned.yaml": turned}
    told = mistakes(project(tmp_path, files))

    assert told
    assert told[0].startswith(
        "flows/post.yaml:3:18: template.topic-disagrees: post_scans and again read one topic and disagree on"
    )
    assert any(f'disagree on "{key}"' in line for line in told)


def test_nobody_takes_the_name_of_what_a_connection_keeps(tmp_path: Path) -> None:
    text = WIDTHS.replace("partner: la_poste", "partner: sftp").replace("feed: scans", "feed: _files")
    told = mistakes(project(tmp_path, {"flows/post.yaml": text}))

    (line,) = told
    assert line.startswith("<shipped>/partner_fixed_width.yaml:35:14: template.bad-name: ")
    assert '"sftp._files" is what the connection keeps for itself, in flow post_scans at' in line


@given(
    data=st.data(),
    name=st.sampled_from(sorted(FILES)),
    strange=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["${param.x}", "$$", "10s", "8MiB", "\t", "detail.id", "layouts/scans.yaml", "gz"]),
        st.sampled_from(
            [[], {}, [[]], {"": {}}, {"file": "layouts/scans.yaml"}, {"name": 1}, [{"name": "a"}]]
        ),
    ),
)
@settings(max_examples=100, deadline=None)
def test_a_strange_value_anywhere_in_a_feed_is_a_mistake_or_meant(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str, strange: Any
) -> None:
    documents = list(yaml.safe_load_all(FILES[name]))
    path = data.draw(st.sampled_from(paths(documents)[1:]))
    files: dict[str, str | bytes] = {
        name: "\n---\n".join(
            json.dumps(one, ensure_ascii=False) for one in replaced(documents, path, strange)
        )
    }
    folder = project(tmp_path_factory.getbasetemp() / "partners", files)
    told = mistakes(folder)

    assert all(": template." in line for line in told)
    assert told or plan.as_json(plan.build(load(folder))).encode()


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


# --- templates -------------------------------------------------------------------------------


def test_the_templates_of_partner_files_ship_with_their_tests(tmp_path: Path) -> None:
    names = ["partner_csv@1", "partner_fixed_width@1", "partner_jsonl@1", "partner_xml@1", "postgres_table@1"]
    trials: dict[str, list[Trial]] = {}
    for trial in load(project(tmp_path)).trials:
        trials.setdefault(trial.about, []).append(trial)

    assert sorted(each.major for each in shipped(MODELS, FLOWS)) == names
    assert sorted(trials) == names


def test_a_template_of_a_connector_that_is_not_there_is_left_behind(tmp_path: Path) -> None:
    assert [each.major for each in shipped(declared.MODELS)] == ["postgres_table@1"]
    (told,) = (line for line in declared.mistakes(project(tmp_path)) if "others.yaml:5" in line)
    assert 'there is no template "partner_jsonl@1"' in told
