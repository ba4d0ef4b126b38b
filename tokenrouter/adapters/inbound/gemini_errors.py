"""Errors in Google's shape. Source: https://cloud.google.com/apis/design/errors (codes, words, and the standard details)."""

from typing import Final

import msgspec

from tokenrouter.errors import GatewayError

_WORDS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    422: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}


def google_error(error: GatewayError) -> dict[str, object]:
    """The error as clients of this API know it. Our own code, the field that it is about and when to come again are standard details."""
    details: list[dict[str, object]] = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code.upper(), "domain": "tokenrouter", "metadata": {}}
    ]
    if error.param:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    if (wait_ms := error.retry_after_ms) is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": _duration(wait_ms)})
    word = _WORDS.get(error.status, "INVALID_ARGUMENT" if 400 <= error.status < 500 else "INTERNAL")
    return {"error": {"code": error.status, "message": error.message, "status": word, "details": details}}


def _duration(wait_ms: int) -> str:
    """As protocol buffers spell a duration in JSON: no digits behind the point, or three."""
    return f"{wait_ms // 1000}.{wait_ms % 1000:03}s" if wait_ms % 1000 else f"{wait_ms // 1000}s"


def encode_error(error: GatewayError) -> bytes:
    """An error body."""
    return msgspec.json.encode(google_error(error))
