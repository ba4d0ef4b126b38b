"""The way into the admin API: who asks, and whether the same change was asked for before.

`Idempotency-Key` on a change: the first call does it, and its reply is kept for a day; whoever repeats the call gets that reply again
(`idempotent-replayed: true`), whoever sends another request under the key a 422, and who comes while the first one is under way a 409.
Refusals (4xx) are not kept, as nothing was done. A POST that ended in trouble of ours may have happened or not: it is not done again,
and a 409 says so until the key is forgotten; all other changes are the same however often they are made, and may be repeated.

A reply that shows a secret is kept without it: the secret is shown once. Who lost it rotates the key.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Final

from starlette.types import ASGIApp

from tokenrouter.api.admin.problems import problem
from tokenrouter.api.asgi import Message, Receive, Scope, Send, bounded
from tokenrouter.api.virtual_time import go_on
from tokenrouter.clock import Clock
from tokenrouter.errors import Conflict, GatewayError, IdempotencyMismatch, InvalidRequest, Unavailable, retry_after
from tokenrouter.storage.admin_records import AdminRecords
from tokenrouter.storage.directory_rows import AdminReply

log = logging.getLogger("tokenrouter")

Guard = Callable[[Mapping[str, str]], Awaitable[str]]
"""Says who asks, by the request's headers. Raises Unauthenticated, Unavailable."""

PUBLIC: Final = frozenset(("/admin", "/admin/", "/admin/docs", "/admin/openapi.json"))
"""What the admin API looks like is no secret; it says nothing about who uses it."""

KEPT_NS: Final = 86_400 * 1_000_000_000
_UNDER_WAY_NS = 60 * 1_000_000_000
_SWEEP_NS = 3_600 * 1_000_000_000
_BODY_LIMIT = 1 << 20
_CHANGES = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_DRY = "/admin/check"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_REMARK = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_SECRET = re.compile(rb'"sk-tr-[^"]*"')


def changes(method: str, path: str) -> bool:
    """Whether a call changes anything."""
    return method in _CHANGES and path != _DRY


class Gate:
    """Everybody passes here. What comes through has an `actor` in its state."""

    def __init__(self, behind: ASGIApp, guard: Guard, records: Callable[[], AdminRecords], clock: Clock) -> None:
        self._behind, self._guard, self._records, self._clock = behind, guard, records, clock
        self._swept_ns: int | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["path"] in PUBLIC:
            await self._behind(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            scope.setdefault("state", {})["actor"] = _signed(await self._guard(headers), headers.get("x-admin-actor", ""))
            go_on(self._clock, scope["headers"])
            if changes(scope["method"], scope["path"]) and "idempotency-key" in headers:
                await self._once(_row_of(headers["idempotency-key"]), scope, bounded(receive, _BODY_LIMIT), send)
                return
        except GatewayError as error:
            await problem(error)(scope, receive, send)
            return
        await self._behind(scope, bounded(receive, _BODY_LIMIT), send)

    async def _once(self, row: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Do it, or give the reply of who did it before. Raises Conflict, IdempotencyMismatch, InvalidRequest, Unavailable: nothing was sent."""
        body = await _whole(receive)
        records = self._records()
        await self._sweep(records)
        digest = _digest(scope, body)
        before = await records.claim(row, digest)
        if before is not None:
            await _again(before, digest, self._clock.time_ns(), send)
            return
        reply = _Reply()
        try:
            await self._behind(scope, _from(body), reply.take)
        finally:
            await _close(records, row, reply, repeatable=scope["method"] != "POST")
            if reply.status:
                await reply.send(send)

    async def _sweep(self, records: AdminRecords) -> None:
        now = self._clock.time_ns()
        if self._swept_ns is None or now - self._swept_ns >= _SWEEP_NS:
            self._swept_ns = now
            await records.forget_replies(now - KEPT_NS)


class _Reply:
    """What was answered."""

    def __init__(self) -> None:
        self.status, self.body = 0, b""
        self._headers: list[tuple[bytes, bytes]] = []

    async def take(self, message: Message) -> None:
        """ASGI's `send`."""
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def send(self, send: Send) -> None:
        """Pass it on."""
        await send({"type": "http.response.start", "status": self.status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self.body})


async def _close(records: AdminRecords, row: str, reply: _Reply, *, repeatable: bool) -> None:
    """Keep the reply for who repeats the call, or let the call be made again. The caller gets its own whatever becomes of this."""
    try:
        if 200 <= reply.status < 300:
            await records.finish(row, reply.status, _SECRET.sub(b"null", reply.body))
        elif repeatable or 400 <= reply.status < 500:
            await records.release(row)
    except Unavailable as error:
        log.warning("what became of an admin call with an Idempotency-Key could not be written down: %s", error)


async def _again(before: AdminReply, digest: bytes, now_ns: int, send: Send) -> None:
    if before.body_hash != digest:
        raise IdempotencyMismatch("this Idempotency-Key was used with another request; take a fresh one for each change", param="idempotency-key")
    if before.status == 0 and now_ns - before.time_ns < _UNDER_WAY_NS:
        raise Conflict("a call with this Idempotency-Key is under way; try again", param="idempotency-key", headers=retry_after(1000))
    if before.status == 0:
        raise Conflict(
            "nobody knows what became of the call with this Idempotency-Key: look at what is there (GET /admin/audit), then ask with a fresh one",
            param="idempotency-key",
        )
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(before.reply)), (b"idempotent-replayed", b"true")]
    await send({"type": "http.response.start", "status": before.status, "headers": headers})
    await send({"type": "http.response.body", "body": before.reply})


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the body is not complete")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _from(body: bytes) -> Receive:
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


def _row_of(key: str) -> str:
    """The name of an idempotency key's row: not the key itself, which may say something about who made it."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key: 1 to 255 printable characters without spaces", param="idempotency-key")
    return blake2b(key.encode(), digest_size=16, person=b"tr admin call").hexdigest()


def _digest(scope: Scope, body: bytes) -> bytes:
    asked = b"\n".join((scope["method"].encode(), scope["path"].encode("utf-8", "surrogatepass"), scope.get("query_string", b"")))
    return blake2b(asked + b"\n" + body, digest_size=32).digest()


def _signed(actor: str, remark: str) -> str:
    """Who asks, for the audit: the credential's name, and what its holder says of who they are."""
    if not remark:
        return actor
    if not _REMARK.fullmatch(remark):
        raise InvalidRequest("X-Admin-Actor: at most 100 printable characters", param="x-admin-actor")
    return f"{actor} ({remark})"
