"""OpenAI's error body. Source: https://developers.openai.com/api/docs/guides/error-codes."""

from tokenrouter.sandbox.wire import Refusal, encode

_KINDS = {
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "requests",
    500: "server_error",
    503: "server_error",
}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def render_refusal(refusal: Refusal) -> bytes:
    """The body of an error answer."""
    kind = refusal.kind or _KINDS.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    code = refusal.code or _CODES.get(refusal.status)
    return encode({"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": code}})
