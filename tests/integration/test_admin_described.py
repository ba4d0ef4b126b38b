"""The description of the admin API is whole and right, and its page works without anything from elsewhere."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from admin_desk import KEY, Office
from fastapi.openapi.models import OpenAPI
from rig import call

from tokenrouter.api.admin.app import RESOURCES

CHANGES = ("post", "put", "patch", "delete")


@pytest.fixture
async def schema(office: Office) -> dict[str, Any]:
    answer = await call(office.app, "GET", "/admin/openapi.json", b"", {})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, operation) for path, methods in schema["paths"].items() for method, operation in methods.items()]


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if "$ref" in part else set()
        return own.union(*(references(each) for each in part.values()))
    return set().union(*(references(each) for each in part)) if isinstance(part, list) else set()


async def test_it_is_openapi_and_nothing_in_it_points_nowhere(schema: dict[str, Any]):
    OpenAPI.model_validate(schema)
    assert schema["openapi"].startswith("3.1")
    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    used = references(schema)
    assert used <= known
    assert known - used == set(), "nothing is described that nobody uses"
    ids = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(ids) == len(set(ids)) >= 35


async def test_every_operation_says_what_it_does_takes_and_refuses(schema: dict[str, Any]):
    for path, method, operation in operations(schema):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        assert {"400", "401", "404", "409", "413", "415", "422", "503"} <= set(operation["responses"]), where
        good = [response for status, response in operation["responses"].items() if status.startswith("2")]
        assert len(good) == 1, where
        assert "application/json" in good[0]["content"], where
        names = {(each["name"], each["in"]) for each in operation.get("parameters", [])}
        assert {(name, "path") for name in re.findall(r"\{(\w+)\}", path)} == {each for each in names if each[1] == "path"}, where
        assert (("Idempotency-Key", "header") in names) == (method in CHANGES and path != "/admin/check"), where
        assert len(names) == len(operation.get("parameters", [])), where
        for each in operation["responses"].values():
            if "application/problem+json" in each.get("content", {}):
                assert each["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")


async def test_every_field_of_every_body_is_described_or_named_by_itself(schema: dict[str, Any]):
    for name, part in schema["components"]["schemas"].items():
        assert part.get("description") or "Page" in name, name
        if part.get("properties"):
            assert part["type"] == "object", name


async def test_every_route_is_described(schema: dict[str, Any]):
    routes = [route for each in RESOURCES for route in each.router.routes]
    served = {(route.path.replace(":path}", "}"), method.lower()) for route in routes for method in route.methods - {"HEAD"}}
    assert served == {(path, method) for path, method, _ in operations(schema)}


async def test_the_page_needs_nothing_from_elsewhere_and_runs_its_own_script_only(office: Office):
    answer = await call(office.app, "GET", "/admin/docs", b"", {})
    page, policy = answer.body.decode(), answer.headers["content-security-policy"]
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", page)
    assert not re.search(r"@import|\burl\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert KEY not in page
    assert len(page) < 30_000


async def test_the_description_says_nothing_about_who_uses_the_gateway(office: Office):
    made = await office.made("/admin/api-keys", {"tenant": "tenant-canary", "name": "name-canary"})
    text = (await call(office.app, "GET", "/admin/openapi.json", b"", {})).body.decode()
    for word in ("canary", made["id"], KEY):
        assert word not in text
    assert json.loads(text)["security"] == [{"adminKey": []}]
