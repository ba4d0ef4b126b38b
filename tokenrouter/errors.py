"""Every failure that a caller can meet, as one tree.

    GatewayError
    ├── InvalidRequest            400  the request can not be served as it is
    │   ├── InvalidJSON           400  not JSON, or JSON on which parsers disagree
    │   ├── UnsupportedField      400  a field that the chosen upstream has no counterpart for
    │   └── StateNotFound         400  an earlier answer that is not stored, or not for this tenant
    ├── Unauthenticated           401  no key, or not one of ours
    ├── Forbidden                 403  the key may not do this
    ├── NotFound                  404  no such model, path or record
    ├── MethodNotAllowed          405
    ├── Conflict                  409  what is there already, or goes on already, stands against it
    ├── BodyTooLarge              413
    ├── UnsupportedMediaType      415
    ├── IdempotencyMismatch       422  one idempotency key, two different requests
    ├── SlotRefused               422  a volatile text that nobody has found, or that could not be found again
    ├── RateLimited               429  too many requests in the window
    ├── QuotaExhausted            429  the money or tokens of a key or a customer are spent or held
    ├── BudgetExhausted           402  a budget that many share is spent or held: a tenant's, or the whole gateway's
    │   └── TooCostly             402  this request could come to more than any single one may
    ├── UpstreamFailed            502  the provider broke the protocol or could not be reached
    │   ├── UpstreamTruncated     502  its answer stopped before the end
    │   └── UpstreamRefused         *  it said no, with a status of its own
    ├── Unavailable               503  something of ours is away, not the caller's fault
    └── UpstreamTimedOut          504  the provider said nothing for too long
ConfigError and PortTaken are for the person who starts the process, never for a caller.

The message is always safe to print: it holds no secrets and no traceback. Each dialect renders these once
(`adapters/inbound/*`), encoded, never formatted into JSON by hand.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Something went wrong inside the gateway; nothing is known that would help the caller."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, param: str | None = None, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """`message`: for people, safe to print. `param`: where in the request. `headers`: added to the answer."""
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.param = param
        self.headers = headers

    @property
    def message(self) -> str:
        """What the caller reads."""
        return str(self.args[0])

    @property
    def retry_after_ms(self) -> int | None:
        """After how long its headers say that the same request may pass; None where they do not."""
        found = dict(self.headers)
        if (told := found.get("retry-after-ms", "")).isdecimal():
            return int(told)
        return int(told) * 1000 if (told := found.get("retry-after", "")).isdecimal() else None


class InvalidRequest(GatewayError):
    """The request can not be served as it is."""

    status = 400
    code = "invalid_request"


class InvalidJSON(InvalidRequest):
    """The body is not JSON on which all parsers agree."""

    code = "invalid_json"


class UnsupportedField(InvalidRequest):
    """The chosen upstream has no counterpart for a field of the request."""

    code = "unsupported_parameter"


class StateNotFound(InvalidRequest):
    """The earlier answer is not stored, or not for this tenant."""

    code = "previous_response_not_found"


class Unauthenticated(GatewayError):
    """No valid API key was presented."""

    status = 401
    code = "invalid_api_key"


class Forbidden(GatewayError):
    """The key may not do this."""

    status = 403
    code = "forbidden"


class NotFound(GatewayError):
    """There is no such thing here."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """No provider is known for this model."""

    code = "model_not_found"


class MethodNotAllowed(GatewayError):
    """The path does not answer to this method."""

    status = 405
    code = "method_not_allowed"


class Conflict(GatewayError):
    """What is there already, or under way already, stands against it."""

    status = 409
    code = "conflict"


class BodyTooLarge(GatewayError):
    """The body is larger than the gateway accepts."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(GatewayError):
    """The body is in an encoding that the gateway does not read."""

    status = 415
    code = "unsupported_media_type"


class IdempotencyMismatch(GatewayError):
    """The idempotency key was used with another request."""

    status = 422
    code = "idempotency_key_reused"


class SlotRefused(InvalidRequest):
    """A volatile text that can not be approved."""

    status = 422
    code = "slot_refused"


class RateLimited(GatewayError):
    """Too many requests in this window."""

    status = 429
    code = "rate_limit_exceeded"
    retryable = True


class QuotaExhausted(GatewayError):
    """What is left of the key's or the customer's quota does not cover this request."""

    status = 429
    code = "insufficient_quota"


class BudgetExhausted(GatewayError):
    """What is left of the budget does not cover this request."""

    status = 402
    code = "budget_exceeded"


class TooCostly(BudgetExhausted):
    """The request could come to more than any single one may."""

    code = "request_too_costly"


class UpstreamFailed(GatewayError):
    """The provider could not be reached or broke the protocol."""

    status = 502
    code = "upstream_error"
    retryable = True


class UpstreamTruncated(UpstreamFailed):
    """The provider's answer stopped before its end."""

    code = "upstream_truncated"


class UpstreamRefused(UpstreamFailed):
    """The provider said no."""

    def __init__(self, message: str | None = None, *, status: int) -> None:
        """`status`: the provider's own."""
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # this one's is not the class's


class Unavailable(GatewayError):
    """Something that the gateway needs is away; try again."""

    status = 503
    code = "unavailable"
    retryable = True


class UpstreamTimedOut(GatewayError):
    """The provider said nothing for too long."""

    status = 504
    code = "upstream_timeout"
    retryable = True


class ConfigError(Exception):
    """The configuration can not be used; the message names the key, its place and what would be right."""


class PortTaken(Exception):
    """Somebody else listens on the wanted port."""


def retry_after(wait_ms: int) -> tuple[tuple[str, str], ...]:
    """Headers that say when to come again: in whole seconds, rounded up, and exactly, for clients that know the second one."""
    return (("retry-after", str(-(-wait_ms // 1000))), ("retry-after-ms", str(wait_ms)))
