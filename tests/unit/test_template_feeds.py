"""What a flow says of its files, held against itself and its project: contracts, folders, words, names."""

from __future__ import annotations

import json
from pathlib import Path

from connectors.files.config import FilesConfig
from engine import plan
from tests.support.partners import LINES, PROJECT, WIDTHS, built, flow, load, mistakes, project


def test_a_contract_is_in_the_order_of_the_records_and_what_it_does_not_name_is_text(tmp_path: Path) -> None:
    text = LINES.replace("id: {type: bigint}, city: {type: string}, weight", "weight")
    resolved = plan.resolve(load(project(tmp_path, {"flows/acme.yaml": text})))
    (orders,) = (each for each in resolved.plan.flows if each.name == "acme.orders")
    lines = {path: (value, str(place)) for path, value, place in resolved.lines()}

    assert [(column.name, column.type) for column in orders.contract] == [
        ("id", "string"), ("city", "string"), ("weight", "decimal(9,3)"),
    ]  # fmt: skip
    assert lines["flows.acme.orders.contract.city.type"] == ("string", "derived")
    assert lines["flows.acme.orders.contract.weight.type"][1] == "flows/acme.yaml:15:19"


def test_formats_are_meant_of_columns_that_a_contract_does_not_name_too(tmp_path: Path) -> None:
    text = LINES.replace("columns: {id: {type: bigint}, city: {type: string}, weight", "columns: {weight")
    text = text.replace("      contract:\n", '      contract:\n        formats: {blank: [""], trim: both}\n')
    orders = flow(built(tmp_path, {"flows/acme.yaml": text}), "acme.orders")

    assert {(column.blank, column.trim) for column in orders.contract} == {(("",), "both")}


def test_a_folder_of_this_machine_is_relative_to_the_project_wherever_a_worker_starts(tmp_path: Path) -> None:
    text = PROJECT.replace("root: /srv/drop", "root: ../drop, staging: its/copies")
    drop, sftp = built(
        tmp_path, {"ecluse.yaml": text.replace("root: /out", "root: out\n      staging: copies")}
    ).captures

    assert (drop.config["root"], drop.config["staging"]) == (f"{tmp_path}/../drop", f"{tmp_path}/its/copies")
    assert (sftp.config["root"], sftp.config["staging"]) == ("out", f"{tmp_path}/copies")
    # read again out of the plan, by a worker that was started somewhere else
    assert FilesConfig.model_validate_json(json.dumps(drop.config)).root == f"{tmp_path}/../drop"
    assert built(tmp_path).captures[0].config["staging"] == ""


def test_a_word_stands_for_a_container_and_a_path_for_a_layout(tmp_path: Path) -> None:
    short = WIDTHS.replace("layout: {file: layouts/scans.yaml}", "layout: layouts/scans.yaml")
    made = built(tmp_path, {"flows/post.yaml": short})
    zipped = LINES.replace("container: gz", "container: {kind: zip, member: '*.csv'}")

    assert plan.as_json(made) == plan.as_json(built(tmp_path, {"flows/post.yaml": WIDTHS}))
    assert flow(made, "acme.returns").table.said["container"]["kind"] == "gz"
    again = built(tmp_path, {"flows/acme.yaml": zipped})
    assert flow(again, "acme.returns").table.said["container"]["member"] == "*.csv"


def test_feeds_in_two_folders_or_of_two_connections_may_take_the_same_names(tmp_path: Path) -> None:
    text = LINES.replace("files: RET_*.csv.gz", "files: ORDERS_*.csv")
    apart = text.replace("encoding: cp1252", "folder: back\n      encoding: cp1252")
    here = text.replace("encoding: cp1252", "folder: ./.\n      encoding: cp1252")

    assert mistakes(project(tmp_path / "apart", {"flows/acme.yaml": apart})) == []
    elsewhere = WIDTHS.replace("folder: in/scans", "folder: .").replace("SCAN*.txt", "ORDERS_*.csv")
    assert mistakes(project(tmp_path / "elsewhere", {"flows/post.yaml": elsewhere})) == []
    (told,) = mistakes(project(tmp_path / "here", {"flows/acme.yaml": here}))
    assert "a file ORDERS_.csv would fit both patterns" in told


def test_a_schema_is_held_against_the_records_too_at_its_own_lines(tmp_path: Path) -> None:
    before, _, contracted = LINES.partition("      contract:\n")
    after = contracted.partition("    returns:")[2]
    text = f"{before}      contract: {{schema: schemas/order.avsc}}\n    returns:{after}"
    decimal = '{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}'
    lines = (
        '{"type": "record", "name": "Order", "fields": [',
        f'  {{"name": "weight", "type": {decimal}}},',
        '  {"name": "ctiy", "type": "string"}]}',
    )
    schema = "\n".join(lines)
    files = {"flows/acme.yaml": text, "schemas/order.avsc": schema}

    (told,) = mistakes(project(tmp_path, files))
    assert told == (
        'schemas/order.avsc:3:12: template.unknown-key: the records of this flow have no column "ctiy", '
        'in flow acme.orders at flows/acme.yaml:8:5 (did you mean "city"?)'
    )
    mended = built(tmp_path, {**files, "schemas/order.avsc": schema.replace("ctiy", "city")})
    assert [(column.name, column.type) for column in flow(mended, "acme.orders").contract] == [
        ("id", "string"), ("city", "string"), ("weight", "decimal(9,3)"),
    ]  # fmt: skip
