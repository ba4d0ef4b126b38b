"""Errors of the admin API, as problem details (RFC 9457): what is wrong, where, and what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tokenrouter.errors import GatewayError, InvalidJSON, InvalidRequest, MethodNotAllowed, NotFound, Unavailable, UnsupportedMediaType

PROBLEM = "application/problem+json"
_TYPE = "urn:tokenrouter:problem:"
_MOST_SHOWN = 20
_FIELD = re.compile(r"([a-z_]+): ")
_SOON = (("retry-after", "1"),)

Mistake = tuple[str, str]
"""Where, and what is wrong."""


class FieldMistake(BaseModel):
    """One thing that is wrong with a request."""

    param: str
    detail: str


class Problem(BaseModel):
    """What every refusal of the admin API looks like."""

    type: str = Field(examples=[f"{_TYPE}invalid_request"], description="Names the kind of problem; nothing is to be fetched there.")
    title: str = Field(description="The kind of problem, in words that do not change.")
    status: int
    detail: str = Field(description="What is wrong this time, and what to do.")
    code: str = Field(description="The last part of `type`.")
    param: str | None = Field(None, description="Where in the request, if it is one place.")
    errors: list[FieldMistake] | None = Field(None, description="Everything that is wrong with the fields of a request.")


def problem(error: GatewayError, mistakes: tuple[Mistake, ...] = ()) -> Response:
    """A refusal as it is sent. `mistakes`: everything that is wrong, where it is more than one place."""
    fields: dict[str, object] = {
        "type": _TYPE + error.code,
        "title": (type(error).__doc__ or "").strip().splitlines()[0].rstrip("."),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    if error.param:
        fields["param"] = error.param
    if mistakes:
        fields["errors"] = [{"param": where, "detail": what} for where, what in mistakes[:_MOST_SHOWN]]
    headers = dict(error.headers)
    if isinstance(error, Unavailable):
        headers = {**dict(_SOON), **headers}
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="tokenrouter admin"'
    return Response(msgspec.json.encode(fields), status_code=error.status, media_type=PROBLEM, headers=headers)


async def gateway_error(_: Request, error: Exception) -> Response:
    """Any of our errors; what nobody foresaw says nothing."""
    return problem(error if isinstance(error, GatewayError) else GatewayError())


async def http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: a path that nobody answers, a method that it does not take, a body that can not be read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    asked = f"{request.method} {request.url.path[:200]}"
    if isinstance(error.__cause__, GatewayError):
        return problem(error.__cause__)
    if status == 404:
        return problem(NotFound(f"there is nothing at {asked}; /admin/openapi.json has all paths"))
    if status == 405:
        allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return problem(MethodNotAllowed(f"{asked}: the path does not take this method", headers=tuple(allowed.items())))
    return problem(InvalidRequest("the body can not be read") if status < 500 else GatewayError())


async def bad_request(request: Request, error: Exception) -> Response:
    """Fields that are not what they should be: all of them, and the first in words."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    if found and found[0].get("loc") == ("body",) and "json" not in request.headers.get("content-type", ""):
        return problem(UnsupportedMediaType("a body is JSON here: send it with `Content-Type: application/json`"))
    if found and found[0].get("type") == "json_invalid":
        return problem(InvalidJSON("the body is not valid JSON"))
    mistakes = tuple((".".join(str(part) for part in each.get("loc", ())[1:]), _words(str(each.get("msg", "not understood")))) for each in found)
    where, what = mistakes[0] if mistakes else ("", "not understood")
    return problem(InvalidRequest(f"{where or 'the body'}: {what}", param=where or None), mistakes)


def _words(said: str) -> str:
    return said.removeprefix("Value error, ")


@contextmanager
def refusing(under: str = "") -> Iterator[None]:
    """Turn a ValueError of the stores, which names what is wrong, into a refusal. `under`: the field that holds the ones it names."""
    try:
        yield
    except ValueError as error:
        said = str(error)
        named = _FIELD.match(said)
        param = f"{under}.{named[1]}" if named and under else named[1] if named else under
        raise InvalidRequest(said, param=param or None) from error
