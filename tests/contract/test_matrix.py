"""Dialect × vendor × feature, measured, and compared with the page in docs/."""

import json
from pathlib import Path

import pytest
from clients import ALL as EVERYONE
from clients import speaking
from features import FEATURES
from measuring import measure
from operations import OPERATIONS, measured
from rig import Rig
from vendors import ALL, offered

DATA = Path(__file__).parents[2] / "docs" / "matrix.json"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("vendor", ALL, ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("client", speaking(), ids=lambda client: client.name)
async def test_every_feature_arrives_or_is_refused_or_reported(rig: Rig, client, vendor, request):
    if vendor not in offered(rig.services.catalog):
        pytest.skip(f"{vendor.name} is not simulated")
    measured, lost = {}, {}
    for feature in FEATURES:
        try:
            outcome = await measure(rig, client, vendor, feature)
            measured[feature.id] = [outcome.word, outcome.note] if outcome.note else outcome.word
        except Exception as error:  # noqa: BLE001  # whatever it is, the other features are measured too
            lost[feature.id] = f"{type(error).__name__}: {error}"
            rig.reset()
    assert not lost, "\n".join(f"{client.name} -> {vendor.name}: {name}: {what}" for name, what in lost.items())
    if request.config.getoption("--matrix-update", False):
        keep(client.name, vendor.name, measured)
    assert written()["cells"].get(client.name, {}).get(vendor.name) == measured, "docs/matrix.json says otherwise: `make matrix`"


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
async def test_vectors_and_counts_come_from_whoever_has_them(rig: Rig, operation, request):
    cells, lost = {}, {}
    for vendor in offered(rig.services.catalog):
        try:
            outcome = await measured(rig, operation, vendor)
            cells[vendor.name] = [outcome.word, outcome.note] if outcome.note else outcome.word
        except Exception as error:  # noqa: BLE001  # the other vendors are measured too
            lost[vendor.name] = f"{type(error).__name__}: {error}"
    assert not lost, "\n".join(f"{operation.name} -> {name}: {what}" for name, what in lost.items())
    if request.config.getoption("--matrix-update", False):
        data = written()
        known = {**data.get("operations", {}), operation.name: cells}
        save({**data, "operations": {name: known[name] for name in OPERATIONS if name in known}})
    assert written().get("operations", {}).get(operation.name) == cells, "docs/matrix.json says otherwise: `make matrix`"


def written() -> dict:
    return json.loads(DATA.read_text("utf-8")) if DATA.exists() else {"features": {}, "cells": {}}


def keep(dialect: str, vendor: str, measured: dict) -> None:
    """Write one pair, everything in the order of this suite."""
    data = written()
    data["features"] = {feature.id: feature.title for feature in FEATURES}
    cells = data["cells"]
    cells.setdefault(dialect, {})[vendor] = measured
    data["cells"] = {
        client.name: {column.name: cells[client.name][column.name] for column in ALL if column.name in cells[client.name]}
        for client in EVERYONE
        if client.name in cells
    }
    save(data)


def save(data: dict) -> None:
    DATA.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", "utf-8")


async def test_the_page_has_the_rows_of_this_suite_and_no_others():
    assert written()["features"] == {feature.id: feature.title for feature in FEATURES}
    assert all(list(cells) == [feature.id for feature in FEATURES] for columns in written()["cells"].values() for cells in columns.values())
