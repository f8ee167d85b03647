"""What authors may write, and what becomes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import plan
from engine.template import Mistaken, shipped
from tests.support import declared
from tests.support.declared import FLOWS, MODELS, PROJECT, TEMPLATE, load, mistakes, project

ONE_FLOW = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: lone}
spec:
  template: own@2
  params: {connection: shop, table: public.order_line}
"""


def test_a_good_project_has_no_mistakes(tmp_path: Path) -> None:
    made = load(project(tmp_path))

    assert [flow.name.text for flow in made.flows] == ["shop.customer", "shop.parcel", "shop.scan"]
    assert made.files == ("ecluse.yaml", "flows/shop.yaml")


def test_the_shipped_templates_have_no_mistakes() -> None:
    assert [template.major for template in shipped(MODELS)] == ["postgres_table@1"]


def test_the_order_of_a_sets_flows_means_nothing(tmp_path: Path) -> None:
    head, customer, scan, parcel = FLOWS.split("\n    ", 3)
    turned = f"{head}\n    {parcel.rstrip()}\n    {scan}\n    {customer}\n"
    one = plan.build(load(project(tmp_path / "one")))
    two = plan.build(load(project(tmp_path / "two", {"flows/shop.yaml": turned})))

    assert one.flows == two.flows


def test_a_flow_of_an_own_template_gets_names_from_its_source(tmp_path: Path) -> None:
    files = {"flows/lone.yaml": ONE_FLOW, "templates/own.yaml": TEMPLATE}
    flow = next(f for f in plan.build(load(project(tmp_path, files))).flows if f.name == "lone")

    assert (flow.template, flow.sink.table, flow.group, flow.owner) == (
        "own@2.1.0",
        "silver.public_order_line",
        "default",
        "",
    )
    assert (flow.freshness_s, flow.topic.partitions, flow.schema.drop_column) == (10.0, 4, "keep")


def test_an_own_template_comes_before_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    own = TEMPLATE.replace("name: own, version: 2.1.0", "name: postgres_table, version: 1.9.0")
    more = (
        "{type: string, default: silver}",
        "mode: {type: enum, values: [scd1, append], default: scd1}",
        "deletes: {type: string, default: soft}",
        "freshness: {type: duration, default: 1s}",
    )
    own = own.replace(more[0], "\n    ".join(more))
    made = plan.build(load(project(tmp_path, {"templates/p.yaml": own})))

    assert {flow.template for flow in made.flows} == {"postgres_table@1.9.0"}


def test_two_flows_on_one_table_share_its_topic(tmp_path: Path) -> None:
    files = {
        "flows/history.yaml": ONE_FLOW.replace("order_line", "parcel"),
        "templates/own.yaml": TEMPLATE.replace("mode: none", "mode: initial"),
    }
    made = plan.build(load(project(tmp_path, files)))
    capture = made.captures[0]

    assert len(made.flows) == 4
    assert [table.table for table in capture.tables] == ["customer", "parcel", "scan_event"]
    assert sorted(capture.topics) == ["public.customer", "public.parcel", "public.scan_event"]


def test_flows_on_one_table_agree_on_what_its_topic_holds(tmp_path: Path) -> None:
    files = {
        "flows/history.yaml": ONE_FLOW.replace("order_line", "parcel"),
        "templates/own.yaml": TEMPLATE.replace("mode: none}", "mode: initial}\n      on_truncate: stop"),
    }

    told = mistakes(project(tmp_path, files))
    assert told[0].startswith("flows/shop.yaml:10:5: template.topic-disagrees: shop.parcel and lone read one")
    assert told[0].endswith("(<shipped>/postgres_table.yaml:33:20 against templates/own.yaml:15:20)")
    assert 'disagree on "on_truncate"' in told[0]


def test_groups_make_lanes(tmp_path: Path) -> None:
    files = {"flows/lone.yaml": ONE_FLOW, "templates/own.yaml": TEMPLATE}
    made = plan.build(load(project(tmp_path, files)))

    assert [(lane.group, [flow.name for flow in lane.flows]) for lane in made.lanes] == [
        ("default", ["lone"]),
        ("logistics", ["shop.customer", "shop.parcel", "shop.scan"]),
    ]


def test_absent_kafka_registry_and_lake_mean_the_embedded_ones(tmp_path: Path) -> None:
    made = plan.build(load(project(tmp_path, {"ecluse.yaml": PROJECT.split("  kafka:")[0]})))

    assert (made.kafka.bootstrap_servers, made.registry.url, made.lake.root) == ((), "", "")


def test_the_environment_gives_text_that_may_be_a_number(tmp_path: Path) -> None:
    text = PROJECT.replace("      user:", "      port: ${env.PGPORT}\n      user:")
    environment = {**declared.ENVIRONMENT, "PGPORT": "6543"}
    made = plan.build(load(project(tmp_path, {"ecluse.yaml": text}), environment))

    assert made.captures[0].config["port"] == 6543
    assert made.kafka.bootstrap_servers == ("k1.example.org:9092", "k2.example.org:9092")


def test_a_doubled_dollar_is_a_dollar(tmp_path: Path) -> None:
    text = PROJECT.replace("user: ecluse", "user: a$$b$${env.KAFKA}$c")
    made = plan.build(load(project(tmp_path, {"ecluse.yaml": text})))

    assert made.captures[0].config["user"] == "a$b${env.KAFKA}$c"


def test_what_a_parameter_brings_is_not_read_for_tokens_again(tmp_path: Path) -> None:
    flow = ONE_FLOW.replace("public.order_line", '"public.$${param:into}"')
    files = {"flows/lone.yaml": flow, "templates/own.yaml": TEMPLATE.replace("_${source.table}", "")}
    made = plan.build(load(project(tmp_path, files)))

    assert next(f.table.table for f in made.flows if f.name == "lone") == "${param:into}"


def test_a_relative_lake_stands_in_the_project(tmp_path: Path) -> None:
    made = plan.build(load(project(tmp_path, {"ecluse.yaml": PROJECT.replace('"${env.LAKE}"', "lake")})))

    assert made.lake.root == str(tmp_path / "lake")


def test_every_mistake_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    files = {
        "ecluse.yaml": PROJECT.replace("      host:", "      hots:"),
        "flows/shop.yaml": FLOWS.replace("public.customer", "customer").replace("mode: append", "mode: scd3"),
        "flows/lone.yaml": ONE_FLOW,
        "flows/broken.yaml": "a: [",
        "templates/own.yaml": TEMPLATE.replace("into:", "inot:"),
    }

    assert [line.rsplit(": ", 1)[0] for line in mistakes(project(tmp_path, files))] == [
        "ecluse.yaml:7:7: template.missing-key",
        "ecluse.yaml:8:7: template.unknown-key",
        "flows/broken.yaml:2:1: template.syntax",
        "flows/shop.yaml:8:23: template.bad-value",
        "flows/shop.yaml:9:44: template.bad-value",
        "templates/own.yaml:15:32: template.unresolved-token",
    ]


@pytest.mark.parametrize("name", ["flows", "templates"])
def test_a_file_that_would_be_passed_over_is_a_mistake(tmp_path: Path, name: str) -> None:
    assert mistakes(project(tmp_path, {f"{name}/x.yml": "a"})) == [
        f"{name}/x.yml: template.file-name: this file would not be read: name it .yaml"
    ]


def test_links_that_leave_the_project_are_refused(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f.yaml").write_text(ONE_FLOW)
    (folder / "flows" / "file.yaml").symlink_to(tmp_path / "outside" / "f.yaml")
    (folder / "flows" / "folder").symlink_to(tmp_path / "outside")
    (folder / "flows" / "nowhere.yaml").symlink_to("nothing")
    (folder / "flows" / "round.yaml").symlink_to("round.yaml")
    os.mkfifo(folder / "flows" / "pipe.yaml")

    assert [line.split(": ", 2)[:2] for line in mistakes(folder)] == [
        ["flows/file.yaml", "template.outside"],
        ["flows/folder", "template.outside"],
        ["flows/nowhere.yaml", "template.outside"],
        ["flows/pipe.yaml", "template.unreadable"],
        ["flows/round.yaml", "template.outside"],
    ]


def test_files_mounted_as_kubernetes_mounts_them_are_read(tmp_path: Path) -> None:
    folder = project(tmp_path)
    hidden = folder / "flows" / "..2026_11_21"
    hidden.mkdir()
    (folder / "flows" / "shop.yaml").rename(hidden / "shop.yaml")
    (folder / "flows" / "..data").symlink_to("..2026_11_21")
    (folder / "flows" / "shop.yaml").symlink_to("..data/shop.yaml")

    assert len(load(folder).flows) == 3


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Mistaken, match=r"template.missing-file: .*ecluse init"):
        load(tmp_path)
