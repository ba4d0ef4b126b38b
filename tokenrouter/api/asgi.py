"""Small things about ASGI: reading a body within limits, sending an answer."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tokenrouter.errors import BodyTooLarge, UnsupportedMediaType

Message = MutableMapping[str, Any]  # ASGI's own type: values of every kind
Scope = Message
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DISCARD_MOST = 96 << 20


class ClientGone(Exception):
    """The client hung up before its request was complete."""


async def read_body(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    """The request's body.

    A body over `limit` is read to its end without keeping it (up to a bound), so that the client reads our answer instead of a
    broken connection.

    Raises:
        BodyTooLarge, UnsupportedMediaType, ClientGone.
    """
    coding = headers.get("content-encoding", "identity")
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(receive, body, limit)
    if len(body) > limit:
        raise BodyTooLarge(f"the body is larger than {limit >> 20} MB (BODY_LIMIT_MB)")
    if coding.lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"content-encoding {coding[:40]!r} is not read here; send the body as it is")
    return body


async def _rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size, more = [first], len(first), True
    while more and size <= limit + _DISCARD_MOST:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        more = message.get("more_body", False)
    if size > limit:
        raise BodyTooLarge(f"the body is larger than {limit >> 20} MB (BODY_LIMIT_MB)")
    return b"".join(parts)


def bounded(receive: Receive, limit: int) -> Receive:
    """`receive`, raising BodyTooLarge beyond `limit` bytes: for handlers that read a body before they know who sends it."""
    size = 0

    async def read() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise BodyTooLarge(f"a body is {limit >> 20} MB at most here")
        return message

    return read


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Send a response that is all there."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
