"""Prometheus metrics. The path adds to plain integers; text is made when somebody scrapes.

Labels come from closed sets: vendors and listed models of the catalog (everything else is "other"), never keys, tenants or texts.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tokenrouter.model.record import ROOMS, RequestRecord

_BUCKETS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_NANO = 1_000_000_000
_TOKEN_BUCKETS = ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output")
_SAVINGS = ("prompt_cache", "exact", "dedup")
_SAVERS = ("client", "gateway")
_CLASSES = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

Labels = tuple[str, ...]


class Table(msgspec.Struct, frozen=True):
    """A metric that somebody else counts, by labels of closed sets. `read`: values by label values, now."""

    kind: Literal["counter", "gauge"]
    what: str
    labels: Labels
    read: Callable[[], Mapping[Labels, float]]


class _Tally:
    """Sums of one (vendor, model, sandbox): requests by (dialect, cache, status class), tokens, money, broken prefixes by cause."""

    __slots__ = ("breaks", "cost", "requests", "saved", "saved_by", "tokens", "unreported")

    def __init__(self) -> None:
        self.requests: dict[Labels, int] = {}
        self.tokens = [0] * len(_TOKEN_BUCKETS)
        self.cost = 0
        self.saved = [0] * len(_SAVINGS)
        self.saved_by = [0] * len(_SAVERS)
        self.breaks: dict[str, list[int]] = {}
        self.unreported = 0


class Metrics:
    """Every metric of one process. `gauges`: name → (help, function that reads it now); `tables`: name, without `_total` → what others count."""

    def __init__(
        self,
        known_models: Collection[tuple[str, str]],
        gauges: Mapping[str, tuple[str, Callable[[], float]]],
        tables: Mapping[str, Table] | None = None,
    ) -> None:
        self._known = frozenset(known_models)
        self._vendors = frozenset(vendor for vendor, _ in known_models)
        self._gauges, self._tables = gauges, tables or {}
        self._tallies: dict[Labels, _Tally] = {}
        self._rooms = [0] * len(ROOMS)
        self._edits: dict[str, int] = {}
        self._unbound = 0
        self._errors: dict[str, int] = {}
        self._latency: dict[str, list[int]] = {}
        self._latency_sum: dict[str, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Scrape(self))

    def know(self, models: Collection[tuple[str, str]]) -> None:
        """More (vendor, model) that are counted by their names: what the hosts of this deployment have."""
        self._known |= frozenset(models)
        self._vendors |= frozenset(vendor for vendor, _ in models)

    def add(self, record: RequestRecord) -> None:
        """Count one finished request."""
        vendor = record.vendor if record.vendor in self._vendors else "other"
        model = record.model if (record.vendor, record.model) in self._known else "other"
        key = (vendor, model, "true" if record.sandbox else "false")
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        labels = (record.dialect, record.cache, _CLASSES.get(record.status // 100, "other"))
        tally.requests[labels] = tally.requests.get(labels, 0) + 1
        if record.cache in ("miss", "bypass"):
            self._add_money(tally, record)
        else:
            tally.saved[1] += record.saved_exact
            tally.saved[2] += record.saved_dedup
        for index, spent in enumerate(record.rooms_ns):
            self._rooms[index] += spent
        for edit in record.edits:
            self._edits[edit] = self._edits.get(edit, 0) + 1
        self._unbound += record.unbound
        if record.error:
            self._errors[record.error] = self._errors.get(record.error, 0) + 1
        if record.cache != "coalesced":
            self._observe(record.cache, max(0, record.duration_ns - record.upstream_ns))

    def _add_money(self, tally: _Tally, record: RequestRecord) -> None:
        usage, tokens = record.usage, tally.tokens
        tokens[0] += usage.fresh_input
        tokens[1] += usage.cache_read
        tokens[2] += usage.cache_write
        tokens[3] += usage.cache_write_1h
        tokens[4] += usage.output
        tally.cost += record.cost
        tally.saved[0] += record.saved_prompt_cache
        tally.saved_by[0] += record.saved_by_client
        tally.saved_by[1] += record.saved_by_gateway
        if not usage.cache_reported:
            tally.unreported += usage.input_total
        if record.cache_break:
            broken = tally.breaks.setdefault(record.cache_break, [0, 0, 0])
            broken[0] += 1
            broken[1] += record.cache_break_tokens
            broken[2] += record.cache_break_cost

    def _observe(self, cache: str, nanoseconds: int) -> None:
        counts = self._latency.get(cache)
        if counts is None:
            counts = self._latency[cache] = [0] * (len(_BUCKETS_S) + 1)
            self._latency_sum[cache] = 0
        counts[bisect_left(_BUCKETS_S, nanoseconds / _NANO)] += 1
        self._latency_sum[cache] += nanoseconds

    def render(self) -> bytes:
        """The text for a scrape."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """All metrics as the library's families."""
        yield from self._money_and_tokens()
        rooms = CounterMetricFamily("tokenrouter_room_seconds", "Time spent in each room of the gateway.", labels=["room"])
        for name, spent in zip(ROOMS, self._rooms, strict=True):
            rooms.add_metric([name], spent / _NANO)
        yield rooms
        edits = CounterMetricFamily("tokenrouter_edits", "Requests that an edit was made to.", labels=["edit"])
        for edit, count in self._edits.items():
            edits.add_metric([edit], count)
        yield edits
        errors = CounterMetricFamily("tokenrouter_errors", "Requests that ended with an error of the gateway's, by its code.", labels=["code"])
        for code, count in self._errors.items():
            errors.add_metric([code], count)
        yield errors
        unbound = "Requests that were sent again in the client's own form, since the provider refused reasoning under an edited prompt."
        yield CounterMetricFamily("tokenrouter_bound_reasoning_retries", unbound, value=self._unbound)
        yield self._latencies()
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())
        for name, table in self._tables.items():
            kind = CounterMetricFamily if table.kind == "counter" else GaugeMetricFamily
            family = kind(name, table.what, labels=table.labels)
            for labels, value in table.read().items():
                family.add_metric(labels, value)
            yield family

    def _money_and_tokens(self) -> Iterable[Metric]:
        where = ["vendor", "model", "sandbox"]
        requests = CounterMetricFamily("tokenrouter_requests", "Requests.", labels=[*where, "dialect", "cache", "status"])
        tokens = CounterMetricFamily("tokenrouter_tokens", "Tokens billed by providers, per disjoint bucket.", labels=[*where, "bucket"])
        cost = CounterMetricFamily("tokenrouter_cost_usd", "Dollars spent at providers.", labels=where)
        saved = GaugeMetricFamily(
            "tokenrouter_saved_usd",
            "Dollars saved since start, by source; prompt_cache is net of what cache writes cost extra, so it may fall.",
            labels=[*where, "source"],
        )
        saved_by = GaugeMetricFamily(
            "tokenrouter_prompt_cache_saved_usd",
            "The part of prompt_cache in tokenrouter_saved_usd: what clients' own marks or automatic caches would have saved, and the rest.",
            labels=[*where, "by"],
        )
        unreported = CounterMetricFamily(
            "tokenrouter_unreported_input_tokens", "Input tokens of which the provider did not tell how many it had read.", labels=where
        )
        causes = [*where, "cause"]
        breaks = CounterMetricFamily(
            "tokenrouter_prompt_cache_breaks", "Requests whose prompt should have been read from the prompt cache and was not.", labels=causes
        )
        again = CounterMetricFamily("tokenrouter_prompt_cache_lost_tokens", "Tokens that were billed again because of them.", labels=causes)
        lost = CounterMetricFamily("tokenrouter_prompt_cache_lost_usd", "What that cost.", labels=causes)
        for key, tally in self._tallies.items():
            for labels, count in tally.requests.items():
                requests.add_metric([*key, *labels], count)
            for bucket, count in zip(_TOKEN_BUCKETS, tally.tokens, strict=True):
                tokens.add_metric([*key, bucket], count)
            cost.add_metric([*key], tally.cost / _NANO)
            for source, amount in zip(_SAVINGS, tally.saved, strict=True):
                saved.add_metric([*key, source], amount / _NANO)
            for saver, amount in zip(_SAVERS, tally.saved_by, strict=True):
                saved_by.add_metric([*key, saver], amount / _NANO)
            unreported.add_metric([*key], tally.unreported)
            for cause, (count, tokens_lost, amount) in tally.breaks.items():
                breaks.add_metric([*key, cause], count)
                again.add_metric([*key, cause], tokens_lost)
                lost.add_metric([*key, cause], amount / _NANO)
        yield from (requests, tokens, cost, saved, saved_by, unreported, breaks, again, lost)

    def _latencies(self) -> Metric:
        family = HistogramMetricFamily(
            "tokenrouter_added_latency_seconds", "Time that a request spent in the gateway, the provider's time left out.", labels=["cache"]
        )
        for cache, counts in self._latency.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric([cache], buckets, sum_value=self._latency_sum[cache] / _NANO)
        return family


class _Scrape(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.collect()
