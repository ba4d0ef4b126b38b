"""What a refused caller reads, and what official clients make of it."""

import json

import httpx
import httpx2
import pytest
from anthropic import Anthropic, PaymentRequiredError
from anthropic import APIStatusError as AnthropicError
from anthropic import RateLimitError as AnthropicRateLimit
from google import genai
from google.genai import errors as google_errors
from hypothesis import given
from hypothesis import strategies as st
from ollama import Client as Ollama
from ollama import ResponseError
from openai import APIStatusError, OpenAI, RateLimitError

from tokenrouter.adapters.known import known_dialects
from tokenrouter.errors import BudgetExhausted, GatewayError, QuotaExhausted, RateLimited, TooCostly, Unavailable, retry_after
from tokenrouter.model.admission import Bound, Refusal, Standing, Worst
from tokenrouter.model.rules import EACH, Cap, Limit, Scope
from tokenrouter.money import Price, Rates, Tier, parse_usd, worst_case
from tokenrouter.quota.refusals import Thrift, fitting, refused, standings

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
CALLER = Scope(key="ab12", customer="alice", model="openai/gpt-4.1")
BOUND = Bound(tenant="t", zone="Europe/Berlin")
NOTHING = Worst(0, 0, sandbox=False)


def usd(text: str) -> int:
    return parse_usd(text)


def told(refusal: Refusal, worst: Worst | None = NOTHING, **more) -> GatewayError:
    return refused(refusal, BOUND, worst, NOW_MS, caller=CALLER, **more)


def limit(metric="requests", amount=60, **more) -> Limit:
    return Limit(id="l1", metric=metric, amount=amount, **more)


def cap(amount: str = "5", **more) -> Cap:
    return Cap(id="c1", amount=usd(amount), **more)


# -- limits ----------------------------------------------------------------------------------------------------------------------------


def test_a_limit_is_named_with_its_scope_its_window_and_what_is_left():
    error = told(Refusal(limit=limit(scope=Scope(key=EACH)), retry_ms=1_200, left=0))
    assert isinstance(error, RateLimited)
    assert error.message == "limit l1: 60 requests per minute for key ab12; 0 are left; try again in 2 s"
    assert dict(error.headers) == {"retry-after": "2", "retry-after-ms": "1200"}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (limit(window="hour", kind="sliding"), "never more than 60 requests within one hour for the tenant"),
        (limit(window="day", refill=10), "10 requests per day (up to 60 at once) for the tenant"),
        (limit(scope=Scope(key="ab12", model=EACH)), "60 requests per minute for key ab12, model openai/gpt-4.1"),
        (limit(scope=Scope(customer="alice")), "60 requests per minute for customer alice"),
        (limit("concurrency", 4), "4 requests at a time for the tenant; all places are taken"),
    ],
)
def test_every_kind_of_limit_has_its_words(rule: Limit, says: str):
    assert says in told(Refusal(limit=rule, retry_ms=500)).message


def test_a_rule_for_everyone_is_told_as_such_where_the_caller_is_not_known():
    assert "customer (each)" in refused(Refusal(limit=limit(scope=Scope(customer=EACH)), retry_ms=1), BOUND, None, NOW_MS).message


def test_a_limit_of_tokens_tells_what_the_request_may_use_and_what_would_pass():
    worst, thrift = Worst(0, 1_200, sandbox=False), Thrift(floor=Worst(0, 200, sandbox=False), output=1_000, field="max_tokens")
    error = told(Refusal(limit=limit("tokens", 5_000), retry_ms=2_400, left=700), worst, thrift=thrift)
    assert "700 are left, and this request may use up to 1200; it would pass with max_tokens of at most 500; try again in 3 s" in error.message
    assert dict(error.headers)["retry-after-ms"] == "2400"


def test_what_is_larger_than_its_limit_is_never_to_be_repeated():
    worst, thrift = Worst(0, 1_200, sandbox=False), Thrift(floor=Worst(0, 200, sandbox=False), output=1_000)
    error = told(Refusal(limit=limit("tokens", 1_000), left=1_000), worst, thrift=thrift)
    assert "never fits; it would pass with max_completion_tokens of at most 800" in error.message
    assert error.headers == (("x-should-retry", "false"),)


def test_places_that_nobody_knows_the_end_of_may_be_asked_for_again_soon():
    assert dict(told(Refusal(limit=limit("concurrency", 4))).headers) == {"retry-after": "1", "retry-after-ms": "1000"}
    assert dict(told(Refusal(limit=limit("concurrency", 4), retry_ms=7_001)).headers) == {"retry-after": "8", "retry-after-ms": "7001"}


@pytest.mark.parametrize(("wait_ms", "repeats"), [(1, True), (60_000, True), (60_001, False), (5 * DAY_MS, False)])
def test_a_long_wait_is_told_truly_but_no_client_is_to_sleep_through_it(wait_ms: int, repeats: bool):
    headers = dict(told(Refusal(limit=limit(window="day"), retry_ms=wait_ms)).headers)
    assert headers["retry-after-ms"] == str(wait_ms)
    assert int(headers["retry-after"]) == -(-wait_ms // 1000)
    assert headers.get("x-should-retry") == (None if repeats else "false")


def test_the_headers_of_a_refusal_are_those_of_the_limit_that_refused():
    assert standings(Refusal(limit=limit(refill=30), left=-3, retry_ms=1)) == (Standing(60, 0, 120_000), None)
    assert standings(Refusal(limit=limit("tokens", 100), left=25, retry_ms=1)) == (None, Standing(100, 25, 45_000))
    assert standings(Refusal(limit=limit(kind="sliding"), left=0, retry_ms=1)) == (Standing(60, 0, 60_000), None)
    assert standings(Refusal(limit=limit("tokens", 100), left=100)) == (None, Standing(100, 100, 0))
    assert standings(Refusal(limit=limit("concurrency", 1))) == standings(Refusal(cap=cap())) == (None, None)


# -- caps ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "kind", "status", "code"),
    [
        (Scope(key="ab12"), QuotaExhausted, 429, "insufficient_quota"),
        (Scope(customer=EACH), QuotaExhausted, 429, "insufficient_quota"),
        (Scope(), BudgetExhausted, 402, "budget_exceeded"),
        (Scope(model="openai/gpt-4.1"), BudgetExhausted, 402, "budget_exceeded"),
    ],
)
def test_whose_cap_it_is_decides_the_status(scope: Scope, kind: type[GatewayError], status: int, code: str):
    error = told(Refusal(cap=cap(scope=scope), left=1), Worst(usd("0.1"), 0, sandbox=False))
    assert (type(error), error.status, error.code) == (kind, status, code)


def test_a_cap_tells_the_amounts_the_end_of_its_period_and_what_would_pass():
    ends_ms = NOW_MS + 3 * DAY_MS
    worst, thrift = Worst(usd("0.30"), 0, sandbox=False), Thrift(floor=Worst(usd("0.10"), 0, sandbox=False), output=1_000, field="max_tokens")
    refusal = Refusal(cap=cap(scope=Scope(customer=EACH)), left=usd("0.2"), resets_ms=ends_ms)
    error = told(refusal, worst, thrift=thrift)
    assert error.message == (
        "cap c1: customer alice may spend 5.00 USD for this month; 0.20 USD left, and this request could come to 0.30 USD; "
        "it would pass with max_tokens of at most 499; the month ends at 2023-11-17T23:13:20+01:00"
    )
    assert dict(error.headers) == {"retry-after": str(3 * 86_400), "retry-after-ms": str(3 * DAY_MS), "x-should-retry": "false"}


def test_a_cap_of_tokens_speaks_of_tokens():
    error = told(Refusal(cap=Cap(id="c", unit="tokens", amount=100, period="total"), left=7), Worst(usd("9"), 30, sandbox=False))
    assert "may spend 100 tokens in all; 7 tokens left, and this request could come to 30 tokens" in error.message


@pytest.mark.parametrize("scope", [Scope(key="ab12"), Scope()])
def test_where_only_calls_under_way_stand_in_the_way_the_caller_may_come_again_soon(scope: Scope):
    refusal = Refusal(cap=cap(scope=scope), left=usd("0.05"), held=usd("0.05"), resets_ms=NOW_MS + DAY_MS)
    error = told(refusal, Worst(usd("0.1"), 0, sandbox=False))
    assert "calls under way hold 0.05 USD" in error.message
    headers = dict(error.headers)
    assert headers.pop("retry-after-ms") == "1000"
    assert headers == {"retry-after": "1"} | ({"x-should-retry": "true"} if error.status == 402 else {})


def test_where_what_is_held_is_not_enough_the_period_has_to_end():
    refusal = Refusal(cap=cap(), left=usd("0.05"), held=usd("0.04"), resets_ms=NOW_MS + 30_000)
    assert dict(told(refusal, Worst(usd("0.1"), 0, sandbox=False)).headers)["retry-after"] == "30"


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(cap=cap("0.01", scope=Scope(key="ab12")), left=usd("0.01"), held=0, resets_ms=NOW_MS + DAY_MS),
        Refusal(cap=cap("5", period="total", scope=Scope(key="ab12")), left=0),
    ],
)
def test_what_no_period_will_bring_is_never_to_be_repeated(refusal: Refusal):
    error = told(refusal, Worst(usd("0.1"), 0, sandbox=False))
    assert error.headers == (("x-should-retry", "false"),)


def test_the_most_that_one_request_may_cost_is_a_402_whoever_asks():
    worst, thrift = Worst(usd("0.30"), 0, sandbox=False), Thrift(floor=Worst(usd("0.10"), 0, sandbox=False), output=1_000)
    error = told(Refusal(cap=cap("0.2", scope=Scope(customer="alice"), period="request")), worst, thrift=thrift)
    assert (type(error), error.code) == (TooCostly, "request_too_costly")
    assert "no single request of customer alice may come to more than 0.20 USD" in error.message
    assert "at most 499" in error.message
    assert error.headers == (("x-should-retry", "false"),)


def _price(rate: int, *, cheaper: int = 3, tiers: bool = False) -> Price:
    def tier(above: int, rate: int) -> Tier:
        return Tier(above_input_tokens=above, rates=Rates(fresh_input=rate // cheaper, cache_read=0, cache_write=0, cache_write_1h=0, output=rate))

    return Price(tiers=(tier(0, rate // 2), tier(1_000, rate)) if tiers else (tier(0, rate),), source="", version="")


def _worst(price: Price, inputs: int, output: int) -> Worst:
    return Worst(worst_case(inputs, output, price), inputs + output, sandbox=False)


@given(
    st.integers(0, 10**11), st.integers(0, 10**6), st.integers(1, 10**5), st.integers(0, 10**10), st.integers(1, 4), st.integers(1, 50), st.booleans()
)
def test_what_is_advised_fits(rate: int, inputs: int, output: int, left: int, choices: int, cheaper: int, tiers: bool):
    price = _price(rate, cheaper=cheaper, tiers=tiers)
    thrift = Thrift(floor=_worst(price, inputs, 0), output=output)
    found = fitting("usd", left, _worst(price, inputs, output * choices), thrift)
    assert 0 <= found <= output
    assert not found or _worst(price, inputs, found * choices).usd <= left
    found = fitting("tokens", left, _worst(price, inputs, output * choices), thrift)
    assert not found or inputs + found * choices <= left


@pytest.mark.parametrize("rate", [400_000_000, 15_000_000_000])
@pytest.mark.parametrize("left", [usd("0.003"), usd("0.00812345"), usd("0.02")])
def test_hardly_more_would_fit_than_is_advised(rate: int, left: int):
    price = _price(rate)
    found = fitting("usd", left, _worst(price, 777, 10**6), Thrift(floor=_worst(price, 777, 0), output=10**6))
    assert found == 0 or _worst(price, 777, found).usd <= left
    assert _worst(price, 777, found + 2).usd > left


def test_a_refusal_without_a_reason_is_a_mistake():
    with pytest.raises(ValueError, match="names a limit"):
        told(Refusal())


# -- what clients make of it -----------------------------------------------------------------------------------------------------------

SLOW = RateLimited("slow down", headers=retry_after(1_250))
SPENT = QuotaExhausted("spent", headers=(("x-should-retry", "false"),))
BROKE = BudgetExhausted("broke", headers=(*retry_after(DAY_MS), ("x-should-retry", "false")))


class Answering:
    """A server that always says the same; counts how often it was asked."""

    def __init__(self, dialect: str, error: GatewayError) -> None:
        self.asked = 0
        self._error, self._body = error, known_dialects("")[dialect].encode_error(error, "req_1")

    def __call__(self, request: httpx.Request | httpx2.Request) -> httpx.Response | httpx2.Response:
        self.asked += 1
        kind = httpx.Response if isinstance(request, httpx.Request) else httpx2.Response
        return kind(self._error.status, content=self._body, headers=[("content-type", "application/json"), *self._error.headers], request=request)


def _with_openai(error: GatewayError, dialect: str = "openai-chat") -> tuple[Answering, APIStatusError]:
    server = Answering(dialect, error)
    client = OpenAI(api_key="k", base_url="http://x/v1", max_retries=2, http_client=httpx2.Client(transport=httpx2.MockTransport(server)))
    asks = {
        "openai-chat": lambda: client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}]),
        "openai-responses": lambda: client.responses.create(model="m", input="hi"),
        "openai-embeddings": lambda: client.embeddings.create(model="m", input="hi"),
    }
    with pytest.raises(APIStatusError) as caught:
        asks[dialect]()
    return server, caught.value


def _with_anthropic(error: GatewayError) -> tuple[Answering, AnthropicError]:
    server = Answering("anthropic-messages", error)
    client = Anthropic(api_key="k", base_url="http://x", max_retries=2, http_client=httpx2.Client(transport=httpx2.MockTransport(server)))
    with pytest.raises(AnthropicError) as caught:
        client.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
    return server, caught.value


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-responses", "openai-embeddings"])
def test_openais_client_raises_what_it_means_and_does_not_repeat_in_vain(dialect: str):
    server, spent = _with_openai(SPENT, dialect)
    assert isinstance(spent, RateLimitError)
    assert (spent.code, spent.type, server.asked) == ("insufficient_quota", "insufficient_quota", 1)
    server, broke = _with_openai(BROKE, dialect)
    assert (broke.status_code, broke.code, broke.type, server.asked) == (402, "budget_exceeded", "insufficient_quota", 1)


def test_anthropics_client_raises_what_it_means_and_does_not_repeat_in_vain():
    server, spent = _with_anthropic(SPENT)
    assert isinstance(spent, AnthropicRateLimit)
    assert (spent.type, spent.error_code, server.asked) == ("rate_limit_error", "insufficient_quota", 1)
    server, broke = _with_anthropic(BROKE)
    assert isinstance(broke, PaymentRequiredError)
    assert (broke.type, broke.error_code, broke.api_message, server.asked) == ("billing_error", "budget_exceeded", "broke", 1)


def test_official_clients_wait_for_as_long_as_they_are_told(monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", slept.append)
    server, slow = _with_openai(SLOW)
    assert isinstance(slow, RateLimitError)
    assert (slow.code, server.asked, slept) == ("rate_limit_exceeded", 3, [1.25, 1.25])
    slept.clear()
    server, limited = _with_anthropic(SLOW)
    assert (limited.error_code, server.asked, slept) == ("rate_limit_exceeded", 3, [1.25, 1.25])


def test_a_402_that_is_about_calls_under_way_is_repeated_by_clients(monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", slept.append)
    error = told(Refusal(cap=cap(), left=0, held=usd("1")), Worst(usd("0.1"), 0, sandbox=False))
    assert (_with_openai(error)[0].asked, _with_anthropic(error)[0].asked, slept) == (3, 3, [1.0] * 4)


@pytest.mark.parametrize(("error", "delay"), [(SLOW, "1.250s"), (BROKE, "86400s"), (SPENT, None)])
def test_googles_client_is_told_in_the_standard_details(error: GatewayError, delay: str | None):
    server = Answering("gemini-generate", error)
    options = genai.types.HttpOptions(base_url="http://x", httpx_client=httpx.Client(transport=httpx.MockTransport(server)))
    with pytest.raises(google_errors.ClientError) as caught:
        genai.Client(api_key="k", http_options=options).models.generate_content(model="m", contents="hi")
    assert (caught.value.code, caught.value.status) == (error.status, "RESOURCE_EXHAUSTED")
    details = caught.value.details["error"]["details"]
    assert details[0]["reason"] == error.code.upper()
    assert [one["retryDelay"] for one in details if one["@type"] == "type.googleapis.com/google.rpc.RetryInfo"] == ([delay] if delay else [])


@pytest.mark.parametrize("error", [SLOW, SPENT, BROKE])
def test_ollamas_client_reads_the_sentence(error: GatewayError):
    with pytest.raises(ResponseError) as caught:
        Ollama(host="http://x", transport=httpx.MockTransport(Answering("ollama-chat", error))).chat(model="m", messages=[])
    assert (caught.value.status_code, caught.value.error) == (error.status, error.message)


def test_every_dialect_has_words_for_each_refusal():
    for dialect in known_dialects("").values():
        for error in (SLOW, SPENT, BROKE, TooCostly("much")):
            assert error.message in json.dumps(json.loads(dialect.encode_error(error, "req_1")))


def test_errors_know_when_to_come_again():
    assert (SLOW.retry_after_ms, SPENT.retry_after_ms, Unavailable("x", headers=(("retry-after", "5"),)).retry_after_ms) == (1_250, None, 5_000)
