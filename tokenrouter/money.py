"""What tokens cost, in whole nano-dollars. No floating point anywhere: a test reads this file's syntax tree.

One cached token at USD 0.025 per million is 25 nano-USD, so nano-dollars are the coarsest unit that can tell one token from none.
A price is nano-USD per million tokens; a cost is a dot product of disjoint buckets and rates, divided once, at the end.
"""

import re
from collections.abc import Mapping
from typing import Self, TypeAlias

import msgspec

from tokenrouter.errors import NotFound
from tokenrouter.model.usage import Usage

NanoUSD: TypeAlias = int
"""Money: 1 is USD 0.000000001. Exact at any size; a signed 64-bit column holds USD 9.2 billion."""

_PER_USD = 1_000_000_000
_PER_MILLION = 1_000_000
_DAY_NS = 86_400_000_000_000
_USD = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?")


class UnknownPrice(NotFound):
    """No price is known for this model."""

    code = "model_not_priced"

    @classmethod
    def of(cls, vendor: str, model: str) -> Self:
        """The refusal that says how to price `vendor`/`model`."""
        model = model[:200]
        return cls(
            f'no price is known for "{vendor}/{model}" (GET /v1/models lists the models that have one), and an unknown price is never '
            f'taken for zero: to use it all the same, add [prices."{vendor}/{model}"] (or "{vendor}/*") to tokenrouter.toml, '
            'with input = "..." and output = "..." in USD per million tokens',
            param="model",
        )


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD per million tokens of each bucket of `Usage` (USD 3.00 per million = 3_000_000_000).

    Every bucket has a rate: whoever compiles prices decides what a missing one means. Raises ValueError for a negative rate.
    """

    fresh_input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int

    def __post_init__(self) -> None:
        if min(self.fresh_input, self.cache_read, self.cache_write, self.cache_write_1h, self.output) < 0:
            raise ValueError("a rate must be 0 or more nano-USD per million tokens")


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of a whole request whose total input, cached tokens included, is strictly more than `above_input_tokens`."""

    above_input_tokens: int
    rates: Rates


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs at one time.

    tiers        ascending; the first starts at 0 and also holds for no input at all. The highest tier that is reached prices every token of
                 the request, not only those above its threshold ("cliff", as vendors bill)
    source       where the numbers come from, for people: "genai-prices 0.2.3"
    version      stored with each ledger row, so that a cost can be computed again
    also_billed  what the vendor bills beside these tokens, under the source's names ("requests_kcount", "input_audio_mtok"). Not in any
                 amount computed here: whoever shows a cost can say what it leaves out

    Raises ValueError for tiers that do not start at 0 or do not ascend.
    """

    tiers: tuple[Tier, ...]
    source: str
    version: str
    also_billed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        thresholds = [tier.above_input_tokens for tier in self.tiers]
        if not thresholds or thresholds[0] != 0 or thresholds != sorted(thresholds):
            raise ValueError(f"tiers must start at 0 input tokens and ascend, not {thresholds}")

    def rates_for(self, input_total: int) -> Rates:
        """The rates of a request with `input_total` input tokens, cached ones included."""
        tiers = self.tiers
        if len(tiers) == 1:
            return tiers[0].rates
        for tier in reversed(tiers):
            if input_total > tier.above_input_tokens:
                return tier.rates
        return tiers[0].rates


class PriceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A price and when it holds: from a moment on, within hours of each day, both, or always.

    starts_ns  nanoseconds since the Unix epoch, inclusive
    daily_ns   (from, until) in nanoseconds since midnight UTC, `until` excluded; until < from reaches over midnight
    """

    price: Price
    starts_ns: int | None = None
    daily_ns: tuple[int, int] | None = None

    def active(self, time_ns: int) -> bool:
        """Whether the price holds at `time_ns`."""
        if self.starts_ns is not None and time_ns < self.starts_ns:
            return False
        if self.daily_ns is None:
            return True
        since_midnight = time_ns % _DAY_NS
        start, end = self.daily_ns
        if end < start:
            return since_midnight >= start or since_midnight < end
        return start <= since_midnight < end


class PriceSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs over time: the last window that is active wins, and the first holds where none is.

    service_tiers  the same for tiers of service that a vendor sells beside its standard one ("flex", "priority"), under the vendor's word;
                   where none of a tier's windows is active, its price is not known

    Raises ValueError for a schedule without windows.
    """

    windows: tuple[PriceWindow, ...]
    service_tiers: Mapping[str, tuple[PriceWindow, ...]] = {}

    def __post_init__(self) -> None:
        if not self.windows:
            raise ValueError("a price schedule needs at least one window")

    def at(self, time_ns: int) -> Price:
        """The price at `time_ns` (nanoseconds since the Unix epoch)."""
        windows = self.windows
        if len(windows) == 1:
            return windows[0].price
        for window in reversed(windows):
            if window.active(time_ns):
                return window.price
        return windows[0].price

    def in_tier(self, service_tier: str, time_ns: int) -> Price | None:
        """The price in a service tier at `time_ns`; None where it is not known."""
        for window in reversed(self.service_tiers.get(service_tier, ())):
            if window.active(time_ns):
                return window.price
        return None


def always(price: Price) -> PriceSchedule:
    """The schedule of a price that never changes."""
    return PriceSchedule(windows=(PriceWindow(price=price),))


def cost(usage: Usage, price: Price) -> NanoUSD:
    """Price one answer.

    Buckets of `usage` are disjoint, so this is a dot product: a cached token cannot be billed twice. Reasoning is inside `output`.

    Shapes and units:
        usage    tokens per bucket, each >= 0; its fees, already nano-USD, come on top
        price    nano-USD per million tokens per bucket; the tier is the one that the total input selects
        returns  nano-USD, half-even, rounded once after summing

    Source: the example is a list price (3.00 fresh, 0.30 read, 3.75 and 6.00 written, 15.00 output) over a line
        of a billing console (https://github.com/BerriAI/litellm/issues/9812) that a double-counting calculator put at USD 0.091311.

    >>> rates = Rates(
    ...     fresh_input=3_000_000_000,
    ...     cache_read=300_000_000,
    ...     cache_write=3_750_000_000,
    ...     cache_write_1h=6_000_000_000,
    ...     output=15_000_000_000,
    ... )
    >>> price = Price(tiers=(Tier(above_input_tokens=0, rates=rates),), source="list price", version="1")
    >>> cost(Usage(fresh_input=3, cache_write=12_304, output=550), price)
    54399000
    """
    fresh, read, write, write_1h = usage.fresh_input, usage.cache_read, usage.cache_write, usage.cache_write_1h
    rates = price.rates_for(fresh + read + write + write_1h)
    return (
        _half_even(
            fresh * rates.fresh_input
            + read * rates.cache_read
            + write * rates.cache_write
            + write_1h * rates.cache_write_1h
            + usage.output * rates.output
        )
        + usage.fees
    )


def times(price: Price, factor: NanoUSD, *, source: str, version: str) -> Price:
    """`price` with every rate multiplied by `factor`, in billionths (1_800_000_000 is 1.8). Rounded up: never less than the exact product."""
    tiers = [
        Tier(
            above_input_tokens=tier.above_input_tokens,
            rates=Rates(**{name: -(-getattr(tier.rates, name) * factor // _PER_USD) for name in tier.rates.__struct_fields__}),
        )
        for tier in price.tiers
    ]
    return Price(tiers=tuple(tiers), source=source, version=version, also_billed=price.also_billed)


def worst_case(input_tokens: int, output_tokens: int, price: Price) -> NanoUSD:
    """What a request can cost at most: the amount to hold before it is sent.

    All input is taken at the dearest way that it can be billed (plain, written at either lifetime, or read: a few models price reads above
    plain input), in the dearest tier that up to `input_tokens` can reach.

    Shapes and units:
        input_tokens, output_tokens  upper bounds, >= 0; the output limit times the number of choices
        returns                      nano-USD, rounded up: `cost` of no usage within the bounds is more
    """
    dearest = 0
    for index, tier in enumerate(price.tiers):
        if index and tier.above_input_tokens >= input_tokens:
            break
        rates = tier.rates
        input_rate = max(rates.fresh_input, rates.cache_read, rates.cache_write, rates.cache_write_1h)
        dearest = max(dearest, input_tokens * input_rate + output_tokens * rates.output)
    return -(-dearest // _PER_MILLION)


def most_output(input_tokens: int, amount: NanoUSD, price: Price) -> int:
    """How many output tokens `amount` covers beside `input_tokens`, whatever way they are billed: the inverse of `worst_case`.

    Returns a number such that `worst_case(input_tokens, number, price) <= amount`, the largest one (2^31 where output costs nothing);
    negative where the input alone may cost more.
    """
    most = 1 << 31
    for index, tier in enumerate(price.tiers):
        if index and tier.above_input_tokens >= input_tokens:
            break
        rates = tier.rates
        input_rate = max(rates.fresh_input, rates.cache_read, rates.cache_write, rates.cache_write_1h)
        left = amount * _PER_MILLION - input_tokens * input_rate
        if left < 0:
            return -1
        if rates.output:
            most = min(most, left // rates.output)
    return most


def prompt_cache_saving(usage: Usage, price: Price) -> NanoUSD:
    """How much less an answer cost than with all of its input at the plain price.

    Write premiums are subtracted, so it is negative where more was written than reads have paid back. It is the difference of two
    rounded costs, which keeps the books exact: `cost(usage) + prompt_cache_saving(usage)` is `cost` of the same usage with all input fresh.

    Shapes and units: as in `cost`; a usage whose cache was not reported has all its input in `fresh_input` and saves 0.
    """
    input_total = usage.input_total
    rates = price.rates_for(input_total)
    return _half_even(input_total * rates.fresh_input + usage.output * rates.output) + usage.fees - cost(usage, price)


def parse_usd(text: str) -> NanoUSD:
    """Nano-USD from a plain decimal: "12.5", "0", "0.000000001".

    Raises ValueError for anything else: signs, exponents, NaN, a missing digit on either side of the point, more than 9 decimals,
    more than 15 digits before the point, white space.

    >>> parse_usd("12.5")
    12500000000
    """
    match = _USD.fullmatch(text)
    if match is None:
        raise ValueError(f'an amount in USD must be a plain decimal with at most 9 decimals, such as "12.5" or "0.000000001", not {text[:40]!r}')
    whole, decimals = match.groups()
    return int(whole) * _PER_USD + int((decimals or "").ljust(9, "0"))


def format_usd(nano: NanoUSD) -> str:
    """Exact decimal USD without exponent: at least 2 decimals, at most 9.

    >>> format_usd(-123_000)
    '-0.000123'
    """
    whole, rest = divmod(abs(nano), _PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{decimals}"


def _half_even(per_million: int) -> int:
    """`per_million` / 1_000_000 to the nearest whole, ties to the even one."""
    quotient, remainder = divmod(per_million, _PER_MILLION)
    if remainder > _PER_MILLION // 2 or (remainder == _PER_MILLION // 2 and quotient % 2):
        return quotient + 1
    return quotient
