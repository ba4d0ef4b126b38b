"""Prices as a host lists them with its models: OpenRouter's `GET /models`, and whatever has its shape.

Source: OpenRouter's API reference, "List models" and its components Pricing and PricingOverride (2026-11). What an entry says and how it is
read; amounts are strings of USD per token:
    prompt, completion      must both be there, and nothing that is no plain amount is ever taken for zero
    internal_reasoning      where it is dearer than `completion`, all output is priced by it: tokens that reason are output here
    input_cache_read        missing: as `prompt`
    input_cache_write       missing or zero: as `prompt`. Below `prompt` it is what keeping the tokens costs, and they are input besides (Gemini's)
    input_cache_write_1h    missing: as `input_cache_write`, but never less than what is known of it otherwise
    overrides               `min_prompt_tokens` become tiers; other conditions (hours of the day) are taken as if they always held. None lowers a
                            price: whether it holds for a request cannot be known beforehand
    discount                is not subtracted
    all else                named as billed beside tokens, where it is not zero
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from tokenrouter.catalog.price_overrides import MOST_USD
from tokenrouter.errors import UpstreamFailed
from tokenrouter.money import Price, PriceSchedule, PriceWindow, Rates, Tier, always

MOST_MODELS = 20_000
MOST_MOVED = 10
"""A price that becomes more than so many times another is not taken unseen."""

_AMOUNT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,24})?(?:[eE]-?[0-9]{1,2})?")
_NANO_PER_MILLION = 10**15
"""Nano-USD per million tokens in one USD per token."""

_BUCKETS = ("prompt", "input_cache_read", "input_cache_write", "input_cache_write_1h", "completion", "internal_reasoning")
_CONDITIONS = frozenset(("min_prompt_tokens", "utc_start", "utc_end"))
_LONGEST_NAME = 200
_Rated = dict[str, int]


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a host asks for one model.

    tiers        rates in nano-USD per million tokens, as in `Price`
    long_writes  the host named a price of writes at the long lifetime
    also_billed  what it bills beside tokens
    """

    tiers: tuple[Tier, ...]
    long_writes: bool = False
    also_billed: tuple[str, ...] = ()


class PriceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was fetched last, as it is kept.

    version     names the numbers
    fetched_ns  when, in nanoseconds since the Unix epoch
    prices      by "vendor/model"
    """

    url: str
    version: str
    fetched_ns: int
    prices: Mapping[str, Listed]

    def schedule(self, key: str, below: PriceSchedule | None) -> PriceSchedule | None:
        """The price of one model; None where the table does not have it.

        What such a list can not tell is taken from `below`, never at a lower rate than there: thresholds that only `below` has, long writes.
        Tiers of service stay known only where the price is the same as below. Where prices differ by the hour, the list's word is not taken.
        """
        listed = self.prices.get(key)
        if listed is None or (below is not None and any(window.daily_ns is not None for window in below.windows)):
            return None
        known = below.at(self.fetched_ns) if below is not None else None
        tiers = listed.tiers if known is None else _completed(listed, known)
        price = Price(tiers=tiers, source=f"{self.url} ({self.version})", version=self.version, also_billed=listed.also_billed)
        same = below is not None and known is not None and known.tiers == tiers
        return PriceSchedule(windows=(PriceWindow(price=price),), service_tiers=below.service_tiers) if same and below else always(price)


class Reading(msgspec.Struct, frozen=True):
    """A table, and what was not taken into it: (model, why)."""

    table: PriceTable
    left_out: tuple[tuple[str, str], ...]
    moved: tuple[str, ...]


def read_list(
    body: bytes,
    *,
    url: str,
    vendor: str,
    fetched_ns: int,
    now: Callable[[str], Price | None],
    old: PriceTable | None = None,
    force: bool = False,
) -> Reading:
    """Read a list of models.

    vendor  whose models they are; "*": their ids are "vendor/model" of ours
    now     the price of a model, by "vendor/model", that would be replaced
    old     the table that would be replaced: what is not taken keeps its price there
    force   take prices that moved far, too

    Raises:
        UpstreamFailed: it is no such list, or has no price in it.
    """
    try:
        rows = msgspec.convert(msgspec.json.decode(body), dict[str, object]).get("data")
    except (ValueError, RecursionError) as error:
        raise UpstreamFailed(f"{url} answered with something that is no list of models") from error
    if not isinstance(rows, list) or len(rows) > MOST_MODELS:
        raise UpstreamFailed(f"{url} answered without a list `data` of at most {MOST_MODELS} models")
    prices: dict[str, Listed] = {}
    left_out: list[tuple[str, str]] = []
    moved: list[str] = []
    for number, row in enumerate(rows):
        key = _key(row, vendor)
        known = now(key) if key else None
        try:
            listed = _entry(row)
            why = "is there twice" if key in prices else "" if force else _doubts(listed, known)
        except ValueError as error:
            listed, why = None, str(error)
        if not key or why or listed is None:
            left_out.append((key or f"entry {number}", why if key else 'has no id of the form "vendor/model"'))
        else:
            prices[key] = listed
            if known is not None and known.tiers[0].rates != listed.tiers[0].rates:
                moved.append(key)
    if len(rows) == len(left_out):
        raise UpstreamFailed(f"{url} lists no price that can be taken; the first of {len(rows)}: {_first(left_out)}")
    kept = old.prices if old is not None else {}
    prices = {key: kept[key] for key, _ in left_out if key in kept} | prices
    version = f"list-{hashlib.sha256(msgspec.json.encode(prices, order='deterministic')).hexdigest()[:12]}"
    return Reading(PriceTable(url=url, version=version, fetched_ns=fetched_ns, prices=prices), tuple(left_out), tuple(moved))


def _first(left_out: list[tuple[str, str]]) -> str:
    return ": ".join(left_out[0]) if left_out else "nothing"


def _key(row: object, vendor: str) -> str:
    """The "vendor/model" of an entry; "" where it has no such name."""
    name = row.get("id") if isinstance(row, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        return ""
    key = name if vendor == "*" else f"{vendor}/{name}"
    return key if all(key.partition("/")) else ""


def _entry(row: object) -> Listed:
    """Raises ValueError that says what is wrong with it."""
    fields = row if isinstance(row, dict) else {}
    pricing = fields.get("pricing")
    if isinstance(pricing, dict):
        return _listed(pricing, free=str(fields.get("id")).endswith(":free"))
    raise ValueError("has no pricing")


def _listed(pricing: dict[str, object], *, free: bool) -> Listed:
    base = {name: _amount(name, value) for name, value in pricing.items() if name in _BUCKETS and value is not None}
    for name in ("prompt", "completion"):
        if name not in base:
            raise ValueError(f"has no price of {name}")
    if not base["prompt"] and not base["completion"] and not free:
        raise ValueError("costs nothing, which only models named :free do")
    overrides = pricing.get("overrides") or []
    if not isinstance(overrides, list) or not all(isinstance(override, dict) for override in overrides):
        raise ValueError("overrides is no list of objects")
    steps: list[tuple[int, _Rated]] = []
    for override in overrides:
        above = _threshold(override)
        changed = {name: _amount(f"overrides.{name}", value) for name, value in override.items() if name in _BUCKETS and value is not None}
        steps.append((above, changed))
    tiers = []
    for above in sorted({0, *(above for above, _ in steps)}):
        rated: dict[str, int] = dict(base)
        for start, changed in steps:
            if start <= above:
                rated |= {name: max(rate, rated.get(name, 0)) for name, rate in changed.items()}
        tiers.append(Tier(above_input_tokens=above, rates=_rates(rated)))
    ignored = {*_BUCKETS, "overrides", "discount"}
    beside = sorted(name for name, value in pricing.items() if name not in ignored and value not in (None, "0", 0))
    return Listed(tiers=tuple(tiers), long_writes="input_cache_write_1h" in base, also_billed=tuple(name[:60] for name in beside[:20]))


def _threshold(override: dict[str, object]) -> int:
    """Above how many input tokens it holds; strictly, while the list says from how many on."""
    least = override.get("min_prompt_tokens")
    if least is None:
        if not override.keys() & _CONDITIONS:
            raise ValueError("an override has no condition that is known here")
        return 0
    if not isinstance(least, int) or isinstance(least, bool) or not 0 <= least < 1 << 40:
        raise ValueError("overrides.min_prompt_tokens is no number of tokens")
    return max(0, least - 1)


def _amount(name: str, value: object) -> int:
    """Nano-USD per million tokens, exact; finer amounts are rounded up."""
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        shown = repr(value)[:40]
        raise ValueError(f"{name} is {shown}, not a string of USD per token")
    amount = Decimal(value)
    if amount * 1_000_000 > MOST_USD:
        raise ValueError(f"{name} is {value}: more than USD {MOST_USD} per million tokens")
    numerator, denominator = amount.as_integer_ratio()
    return -(-numerator * _NANO_PER_MILLION // denominator)


def _rates(rated: _Rated) -> Rates:
    fresh = rated["prompt"]
    write = rated.get("input_cache_write") or fresh
    write = write if write >= fresh else fresh + write
    return Rates(
        fresh_input=fresh,
        cache_read=rated.get("input_cache_read", fresh),
        cache_write=write,
        cache_write_1h=max(write, rated.get("input_cache_write_1h", 0)),
        output=max(rated["completion"], rated.get("internal_reasoning", 0)),
    )


def _doubts(listed: Listed, known: Price | None) -> str:
    """Why a price is not to be taken unseen; "" where nothing speaks against it."""
    if known is None:
        return ""
    of_list = Price(tiers=listed.tiers, source="", version="")
    for above in sorted({tier.above_input_tokens for tier in (*listed.tiers, *known.tiers)}):
        old, new = known.rates_for(above + 1), of_list.rates_for(above + 1)
        for name in old.__struct_fields__:
            before, after = getattr(old, name), getattr(new, name)
            if after > before * MOST_MOVED or before > after * MOST_MOVED:
                return f"{name} moves from {_usd(before)} to {_usd(after)}, more than {MOST_MOVED} times; --force takes it"
    return ""


def _usd(rate: int) -> str:
    return f"{Decimal(rate) / 10**9:f}"


def _completed(listed: Listed, known: Price) -> tuple[Tier, ...]:
    """The list's tiers with what only `known` has."""
    of_list = Price(tiers=listed.tiers, source="", version="")
    thresholds = [tier.above_input_tokens for tier in listed.tiers]
    extra = [tier.above_input_tokens for tier in known.tiers if tier.above_input_tokens not in thresholds] if len(thresholds) == 1 else []
    tiers = []
    for above in sorted([*thresholds, *extra]):
        rates, before = of_list.rates_for(above + 1), known.rates_for(above + 1)
        if above in extra:
            rates = Rates(**{name: max(getattr(rates, name), getattr(before, name)) for name in rates.__struct_fields__})
        if not listed.long_writes:
            rates = msgspec.structs.replace(rates, cache_write_1h=max(rates.cache_write_1h, before.cache_write_1h))
        tiers.append(Tier(above_input_tokens=above, rates=rates))
    return tuple(tiers)
