"""The description of the admin API (OpenAPI 3.1): what the framework finds, and what the gate adds to every path."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tokenrouter.api.admin.gate import changes
from tokenrouter.api.admin.problems import PROBLEM, Problem

_ABOUT = """Everything about who may use the gateway and what was used. Behind the admin key: `Authorization: Bearer …`.

- **Money** is written as decimal strings in USD ("12.50"), and read as such or as plain numbers. Moments are in UTC.
- **Lists** come in pages: ask again with `cursor` set to `next_cursor` while `has_more` is true. What is added meanwhile moves nothing.
- **Idempotency-Key** on any change: sent again under the same key, the same request changes nothing more and gets the first reply again, for a
  day; another request under the same key is refused (422). A secret that was shown once is not shown again.
- **Errors** are problem details (RFC 9457) as `application/problem+json`.
- **Audit**: every change leaves a row that says who did what. `X-Admin-Actor` adds a remark to it.
- These calls are never budgeted or limited.
"""
_REFUSALS = {
    "400": "The request can not be served as it is.",
    "401": "The admin key was not presented.",
    "404": "There is no such thing here.",
    "409": "What is there already, or under way already, stands against it.",
    "413": "The body is larger than 1 MB.",
    "415": "The body was not sent as `application/json`.",
    "422": "The Idempotency-Key was used with another request, or what is named can not be approved.",
    "503": "Something that is needed is away; try again after `Retry-After`.",
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name for this change that is never used for another: repeating the call under it changes nothing more.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_ACTOR = {
    "name": "X-Admin-Actor",
    "in": "header",
    "required": False,
    "description": "Who does it, as a remark for the audit; nobody checks it.",
    "schema": {"type": "string", "maxLength": 100},
}


def described(app: FastAPI) -> Callable[[], bytes]:
    """What gives the description as JSON; made when it is asked for first."""

    @cache
    def made() -> bytes:
        schema = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
        parts = schema["components"]
        for unused in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(unused, None)
        parts["schemas"]["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts["schemas"] |= parts["schemas"]["Problem"].pop("$defs", {})
        parts["securitySchemes"] = {"adminKey": {"type": "http", "scheme": "bearer", "description": "The admin key."}}
        schema["security"] = [{"adminKey": []}]
        for path, method, operation in _operations(schema):
            operation["summary"] = re.split(r"(?<=[.?!])\s", operation["description"], maxsplit=1)[0].rstrip(".")
            _refusals(operation)
            if changes(method.upper(), path):
                operation.setdefault("parameters", []).extend((_IDEMPOTENCY, _ACTOR))
        return json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode()

    return made


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:  # JSON, as the framework makes it
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _refusals(operation: dict[str, Any]) -> None:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, words in _REFUSALS.items():
        operation["responses"][status] = {"description": words, "content": content}
