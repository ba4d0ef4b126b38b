"""A cap's share was reached: counted, and told to a webhook that may be slow, broken or gone."""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tokenrouter.clock import ManualClock
from tokenrouter.model.admission import Crossing
from tokenrouter.model.catalog import Secret
from tokenrouter.model.directory import Customer
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import EACH, Cap, Rules, Scope
from tokenrouter.observe.metrics import Metrics, Table
from tokenrouter.quota.alerts import MOST_WAITING, TRIES, Alerts, NotDelivered, message
from tokenrouter.quota.rules import Binder
from tokenrouter.quota.webhook import WebhookPost

CAP = Cap(id="c1", amount=5_000_000_000, action="block", scope=Scope(customer=EACH))
CROSSING = Crossing(CAP, "c:c1:c=alice:2023-11", 80, 4_012_000_000, "acme")


class Webhook:
    """A receiver: answers with these statuses one after the other, the last one for ever; an exception is a broken connection."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.got: list[tuple[bytes, Mapping[str, str]]] = []
        self.closed = False

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        self.got.append((body, headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True


async def told(webhook: Webhook, *crossings: Crossing, **more) -> tuple[Alerts, list[float]]:
    """Tell, and wait until nothing waits any more."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    alerts = Alerts(ManualClock(), post=webhook, sleep=sleep, jitter=lambda: 1.0, **more)
    alerts.begin()
    for crossing in crossings:
        alerts.tell(crossing)
    await alerts._waiting.join()
    await alerts.aclose()
    return alerts, pauses


async def test_a_webhook_is_told_what_was_reached_of_whose_cap():
    webhook = Webhook(204)
    await told(webhook, CROSSING)
    ((body, headers),) = webhook.got
    assert json.loads(body) == {
        "type": "cap.crossed",
        "id": headers["x-tokenrouter-delivery"],
        "time": "2023-11-14T22:13:20Z",
        "tenant": "acme",
        "cap": {"id": "c1", "unit": "usd", "amount": "5.00", "period": "month", "action": "block"},
        "key": "",
        "customer": "alice",
        "model": "",
        "period": "2023-11",
        "share": 80,
        "spent": "4.012",
        "sandbox": False,
    }
    assert (headers["content-type"], headers["x-tokenrouter-event"]) == ("application/json", "cap.crossed")
    assert "x-tokenrouter-signature" not in headers
    assert webhook.closed


async def test_what_is_told_is_signed_with_its_time():
    webhook = Webhook(200)
    await told(webhook, CROSSING, secret="whsec")
    ((body, headers),) = webhook.got
    time, mac = (part.partition("=")[2] for part in headers["x-tokenrouter-signature"].split(","))
    assert time == "1700000000"
    assert mac == hmac.new(b"whsec", time.encode() + b"." + body, hashlib.sha256).hexdigest()


async def test_the_same_crossing_has_the_same_id_and_another_has_another():
    webhook = Webhook(200)
    others = [
        Crossing(CAP, CROSSING.counter, 95, CROSSING.spent, "acme"),
        Crossing(CAP, CROSSING.counter, 80, CROSSING.spent, "other"),
        Crossing(CAP, "c:c1:c=alice:2023-12", 80, CROSSING.spent, "acme"),
    ]
    await told(webhook, CROSSING, CROSSING, *others)
    ids = [headers["x-tokenrouter-delivery"] for _, headers in webhook.got]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("period", ["month", "total", "day"])
@pytest.mark.parametrize(
    "scope", [Scope(), Scope(key=EACH), Scope(key="k=1"), Scope(key=EACH, customer=EACH, model=EACH), Scope(customer=EACH), Scope(model="m/x")]
)
@pytest.mark.parametrize("sandbox", [False, True])
def test_whose_cap_it_is_is_read_from_the_counters_name(scope: Scope, period, sandbox: bool):
    cap = Cap(id="c:1", amount=100, unit="tokens", period=period, scope=scope)
    principal = Principal(key_id="k=1", tenant="t", rules=Rules(caps=(cap,)))
    (counted,) = Binder().bind(principal, "a:b%3A=c", "m/x", Customer(tenant="t", id="a")).caps
    named = {"month": ":2023-11", "total": "", "day": ":2023-11-14"}[period]
    found = json.loads(message(Crossing(cap, f"{'s' * sandbox}{counted.counter}{named}", 80, 81, "t"), "x", 0))
    assert (found["key"], found["customer"], found["model"]) == (
        "k=1" if scope.key else "",
        "a:b%3A=c" if scope.customer else "",
        "m/x" if scope.model else "",
    )
    assert (found["period"], found["spent"], found["cap"]["amount"], found["sandbox"]) == (named[1:], "81", "100", sandbox)


async def test_what_fails_is_tried_again_with_longer_pauses_and_then_given_up(caplog: pytest.LogCaptureFixture):
    webhook = Webhook(503, NotDelivered("ClientConnectorError"), 429, 408, 500)
    with caplog.at_level(logging.WARNING, "tokenrouter"):
        alerts, pauses = await told(webhook, CROSSING)
    assert len(webhook.got) == TRIES
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert len({headers["x-tokenrouter-delivery"] for _, headers in webhook.got}) == 1
    assert alerts.outcomes() == {("failed",): 1}
    assert "status 500" in caplog.text


async def test_pauses_are_spread():
    webhook = Webhook(500)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    alerts = Alerts(ManualClock(), post=webhook, sleep=sleep, jitter=lambda: 0.0)
    alerts.begin()
    alerts.tell(CROSSING)
    await alerts._waiting.join()
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    await alerts.aclose()


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410])
async def test_what_will_not_change_is_not_tried_again(status: int):
    webhook = Webhook(status)
    alerts, pauses = await told(webhook, CROSSING)
    assert (len(webhook.got), pauses, alerts.outcomes()) == (1, [], {("failed",): 1})


async def test_after_a_failure_the_next_alert_is_told():
    webhook = Webhook(404, ValueError("a fault of ours"), 200)
    alerts, _ = await told(webhook, CROSSING, CROSSING, CROSSING)
    assert alerts.outcomes() == {("failed",): 2, ("delivered",): 1}


async def test_a_full_queue_drops_and_never_waits(caplog: pytest.LogCaptureFixture):
    alerts = Alerts(ManualClock(), post=Webhook(200))
    with caplog.at_level(logging.WARNING, "tokenrouter"):
        for _ in range(MOST_WAITING + 3):
            alerts.tell(CROSSING)
    assert alerts.outcomes() == {("dropped",): 3}
    assert alerts.counts() == {("customer", "80"): MOST_WAITING + 3}
    assert "is not told" in caplog.text


async def test_at_the_end_what_waits_is_told_without_pauses():
    webhook, never = Webhook(500, 500, 200), asyncio.Event()
    alerts = Alerts(ManualClock(), post=webhook, sleep=lambda _: never.wait())
    alerts.begin()
    for _ in range(10):
        alerts.tell(CROSSING)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(webhook.got) == 1  # in the pause after its first failure
    await alerts.aclose()
    assert alerts.outcomes() == {("delivered",): 10}
    assert webhook.closed


async def test_the_end_does_not_wait_for_a_webhook_that_hangs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("tokenrouter.quota.alerts.DRAIN_S", 0.01)

    class Hanging(Webhook):
        async def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
            await asyncio.Event().wait()
            return 200

    webhook = Hanging(200)
    alerts = Alerts(ManualClock(), post=webhook)
    alerts.begin()
    for _ in range(3):
        alerts.tell(CROSSING)
    with caplog.at_level(logging.WARNING, "tokenrouter"):
        await alerts.aclose()
    assert webhook.closed
    assert "2 alerts were not told" in caplog.text


async def test_without_a_webhook_crossings_are_counted_by_few_words():
    alerts = Alerts(ManualClock())
    alerts.begin()
    for scope in (Scope(), Scope(key="k"), Scope(key=EACH, customer=EACH), Scope(customer="c"), Scope(model="m"), Scope(key="k", model="m")):
        alerts.tell(Crossing(Cap(id="c", amount=1, scope=scope), "c:c", 95, 1, "t"))
    await alerts.aclose()
    assert alerts._waiting.empty()
    metrics = Metrics((), {}, {"tokenrouter_cap_alerts": Table("counter", "Caps.", ("scope", "share"), alerts.counts)})
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("tokenrouter_cap_alerts")]
    assert sorted(lines) == [
        'tokenrouter_cap_alerts_total{scope="customer",share="95"} 2.0',
        'tokenrouter_cap_alerts_total{scope="key",share="95"} 2.0',
        'tokenrouter_cap_alerts_total{scope="model",share="95"} 1.0',
        'tokenrouter_cap_alerts_total{scope="tenant",share="95"} 1.0',
    ]


# -- over the network ------------------------------------------------------------------------------------------------------------------

Serve = Callable[[Callable[[web.Request], object]], object]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(app)
        servers.append(server)
        await server.start_server()
        return str(server.make_url("/T0/s3cret"))

    yield start
    for server in servers:
        await server.close()


async def test_a_message_arrives_byte_for_byte_and_no_redirect_is_followed(serve):
    got = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.method, request.path, await request.read(), request.headers["x-tokenrouter-event"]))
        return web.Response(status=302, headers={"location": "/elsewhere", "set-cookie": "a=b"})

    post = WebhookPost(Secret(await serve(receive)))
    for _ in range(2):
        assert await post(b'{"a":1}', {"x-tokenrouter-event": "cap.crossed"}) == 302
    await post.aclose()
    assert got == [("POST", "/T0/s3cret", b'{"a":1}', "cap.crossed")] * 2


async def test_a_webhook_that_hangs_or_is_gone_is_a_failure_that_does_not_say_its_address(serve):
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    url = await serve(hang)
    for address, timeout_s in ((url, 0.05), ("http://127.0.0.1:1/s3cret", 5), ("http://[/s3cret", 5)):
        post = WebhookPost(Secret(address), timeout_s=timeout_s)
        with pytest.raises(NotDelivered) as failed:
            await post(b"{}", {})
        assert "s3cret" not in str(failed.value)
        await post.aclose()
    never.set()
