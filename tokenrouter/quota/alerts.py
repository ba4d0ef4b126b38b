"""Alerts: a share of a cap was reached for the first time in its period. Counted for metrics, and told to a webhook.

The webhook gets `POST` with a JSON body:

    {"type": "cap.crossed", "id": "alert_...", "time": "2026-11-21T10:15:00Z", "tenant": "acme",
     "cap": {"id": "c1", "unit": "usd", "amount": "50.00", "period": "month", "action": "block"},
     "key": "", "customer": "alice", "model": "", "period": "2026-11", "share": 80, "spent": "40.12", "sandbox": false}

    amount, spent          dollars, or tokens, as decimal strings
    key, customer, model   whose cap it is; "" where it binds all of them together
    period                 the day, week or month; "" for one that never ends
    id                     the same whenever the same thing is told: who gets it twice can tell

and the headers `x-tokenrouter-event`, `x-tokenrouter-delivery` (the id) and, where there is a secret, `x-tokenrouter-signature:
t=<Unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>` with the secret. Any 2xx is an answer; connections that fail, 408, 429 and 5xx
are tried again, `TRIES` times in all; anything else is final, redirects among them. An alert that waits is lost with its process.
"""

import asyncio
import hashlib
import hmac
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.model.admission import Crossing
from tokenrouter.model.rules import Cap, Scope
from tokenrouter.money import format_usd

log = logging.getLogger("tokenrouter")

TRIES: Final = 5
MOST_WAITING: Final = 256
DRAIN_S: Final = 10.0
_FIRST_PAUSE_S: Final = 1.0
_AGAIN: Final = frozenset((408, 429))
_NS: Final = 1_000_000_000

ScopeKind = Literal["key", "customer", "model", "tenant"]
Outcome = Literal["delivered", "failed", "dropped"]


class NotDelivered(Exception):
    """The webhook could not be reached, or did not answer in time."""


class Post(Protocol):
    """Sends one message."""

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        """The status that came back. Raises NotDelivered."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class Alerts:
    """Tells about crossings. `begin` and `aclose` where there is a webhook."""

    def __init__(
        self,
        clock: Clock,
        *,
        post: Post | None = None,
        secret: str = "",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`post`: None where there is no webhook. `secret`: signs; "": nothing is signed. `jitter`: from 0 to 1."""
        self._clock, self._post, self._secret, self._sleep, self._jitter = clock, post, secret.encode(), sleep, jitter
        self._counts: dict[tuple[str, ...], float] = {}
        self._outcomes: dict[tuple[str, ...], float] = {}
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MOST_WAITING)
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tell(self, crossing: Crossing) -> None:
        """Count it, and have it told. Never waits, never fails: with a full queue it is dropped, and counted as that."""
        labels = (scope_kind(crossing.cap.scope), str(crossing.share))
        self._counts[labels] = self._counts.get(labels, 0) + 1
        if self._post is None:
            return
        name = _name(crossing)
        try:
            self._waiting.put_nowait((name, message(crossing, name, self._clock.time_ns())))
        except asyncio.QueueFull:
            self._count("dropped")
            log.warning("%s (cap %s) is not told to the webhook: %d wait already", name, crossing.cap.id, MOST_WAITING)

    def counts(self) -> Mapping[tuple[str, ...], float]:
        """For metrics: crossings by (kind of scope, share)."""
        return self._counts

    def outcomes(self) -> Mapping[tuple[str, ...], float]:
        """For metrics: messages by (what became of them,)."""
        return self._outcomes

    def begin(self) -> None:
        """Deliver from here on. Inside a running loop."""
        if self._post is not None:
            self._task = asyncio.create_task(self._deliver_all(self._post))

    async def aclose(self) -> None:
        """Deliver what waits, without pauses between tries, for `DRAIN_S` at most."""
        self._closing.set()
        if self._task is None or self._post is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._waiting.join()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if left := self._waiting.qsize():
            log.warning("%d alerts were not told to the webhook before the end", left)
        await self._post.aclose()

    async def _deliver_all(self, post: Post) -> None:
        while True:
            name, body = await self._waiting.get()
            try:
                self._count("delivered" if await self._delivered(post, name, body) else "failed")
            except Exception:
                log.exception("%s could not be told to the webhook", name)
                self._count("failed")
            finally:
                self._waiting.task_done()

    async def _delivered(self, post: Post, name: str, body: bytes) -> bool:
        said = ""
        for number in range(TRIES):
            if number:
                await self._pause(_FIRST_PAUSE_S * 2 ** (number - 1) * (0.5 + self._jitter() / 2))
            try:
                status = await post(body, self._headers(name, body))
            except NotDelivered as error:
                said = str(error)
                continue
            if 200 <= status < 300:
                return True
            said = f"status {status}"
            if status not in _AGAIN and status < 500:
                break
        log.warning("%s could not be told to the webhook: %s", name, said)
        return False

    def _headers(self, name: str, body: bytes) -> dict[str, str]:
        headers = {"content-type": "application/json", "x-tokenrouter-event": "cap.crossed", "x-tokenrouter-delivery": name}
        if self._secret:
            headers["x-tokenrouter-signature"] = signature(self._secret, self._clock.time_ns() // _NS, body)
        return headers

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the end has come."""
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _count(self, outcome: Outcome) -> None:
        self._outcomes[outcome,] = self._outcomes.get((outcome,), 0) + 1


def scope_kind(scope: Scope) -> ScopeKind:
    """Whom a cap binds, as one of few words: the narrowest of them."""
    if scope.customer:
        return "customer"
    if scope.key:
        return "key"
    return "model" if scope.model else "tenant"


def signature(secret: bytes, time_s: int, body: bytes) -> str:
    """What stands in `x-tokenrouter-signature`: the time in it keeps an old message from being sent again by somebody else."""
    return f"t={time_s},v1={hmac.new(secret, b'%d.%b' % (time_s, body), hashlib.sha256).hexdigest()}"


def message(crossing: Crossing, name: str, now_ns: int) -> bytes:
    """The body that the webhook gets."""
    cap = crossing.cap
    met, period = _met(cap, crossing.counter)
    told = {
        "type": "cap.crossed",
        "id": name,
        "time": datetime.fromtimestamp(now_ns // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tenant": crossing.tenant,
        "cap": {"id": cap.id, "unit": cap.unit, "amount": _amount(cap, cap.amount), "period": cap.period, "action": cap.action},
        "key": met.key,
        "customer": met.customer,
        "model": met.model,
        "period": period,
        "share": crossing.share,
        "spent": _amount(cap, crossing.spent),
        "sandbox": crossing.counter.startswith("s"),
    }
    return msgspec.json.encode(told)


def _name(crossing: Crossing) -> str:
    told = f"{crossing.tenant}\0{crossing.counter}\0{crossing.share}".encode()
    return f"alert_{hashlib.blake2b(told, digest_size=12).hexdigest()}"


def _met(cap: Cap, counter: str) -> tuple[Scope, str]:
    """Whom the counter is of, and its period. A counter's name: see `quota.rules.Binder` and `Scope.counter`."""
    pieces = counter.removeprefix("s").removeprefix(f"c:{cap.id}").split(":")[1:]
    own = {piece[0]: piece[2:].replace("%3A", ":").replace("%25", "%") for piece in pieces if piece[1:2] == "="}
    period = pieces[-1] if pieces and pieces[-1][1:2] != "=" else ""
    scope = cap.scope
    return Scope(key=own.get("k", scope.key), customer=own.get("c", scope.customer), model=own.get("m", scope.model)), period


def _amount(cap: Cap, amount: int) -> str:
    return format_usd(amount) if cap.unit == "usd" else str(amount)
