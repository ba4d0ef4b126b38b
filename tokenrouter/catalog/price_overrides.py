"""Prices that somebody writes by hand: in tokenrouter.toml, through the admin API, or in our own list of corrections."""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from tokenrouter.errors import InvalidRequest
from tokenrouter.money import Price, PriceSchedule, PriceWindow, Rates, Tier, parse_usd, times

_USD = 1_000_000_000
MOST_USD = 100_000
"""USD per million tokens. No model costs that much; a figure above it was meant per token, or in another currency."""

MOST_TIMES = 100
"""No tier of service costs that many times the standard price."""

STANDARD_TIERS = frozenset(("", "auto", "default", "standard", "standard_only", "on_demand"))
"""Vendors' words for the tier that a price without a tier is about."""

_TIER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_PLACE = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<where>.*)`$", re.DOTALL)
_FIELD = re.compile(r"^(?:Object (?:missing required|contains unknown) field `)?(?P<name>[a-z_0-9.-]+)(?:`|:| must )")

_Amount = str | float


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of requests with more input tokens than a threshold, as in `tiers = [{above_input_tokens = 200000, input = "4", output = "12"}]`.

    Gaps are filled from the same row, as in `PriceOverride`.
    """

    above_input_tokens: int
    input: _Amount
    output: _Amount
    cache_read: _Amount | None = None
    cache_write: _Amount | None = None
    cache_write_1h: _Amount | None = None

    def __post_init__(self) -> None:
        if not 0 < self.above_input_tokens < 1 << 40:
            raise ValueError("above_input_tokens must be a number of tokens above 0; the rates outside of `tiers` hold below")
        _rates(self)


class TierTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates in one tier of service. Gaps are filled from the same table, as in `PriceOverride`."""

    input: _Amount
    output: _Amount
    cache_read: _Amount | None = None
    cache_write: _Amount | None = None
    cache_write_1h: _Amount | None = None
    tiers: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        _rates(self)
        _check_steps(self.tiers)


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operator's own price of a model, as in the table `[prices."openai/my-model"]`.

    input, output   USD per million tokens as quoted decimals ("3.00"). A model that costs nothing says so: "0"
    cache_read      of tokens served from the prompt cache; missing: as `input`
    cache_write     of tokens written to it; missing: as `input`
    cache_write_1h  of tokens written at the long lifetime; missing: as `cache_write`
    tiers           rates of longer requests: the highest threshold that the input exceeds prices all of the request
    service_tiers   rates in the vendor's tiers of service, by its word for them ("flex"): a table like this one, or how many times the
                    standard price they are, as a quoted decimal ("0.5")
    times           instead of `input` and `output`: how many times the price below this one, for premiums of regions and discounts
    source          where the numbers come from, for people

    Numbers without quotes are taken only to be refused with a word: a binary fraction is not the price that was written.
    Raises TypeError for them and ValueError for all that makes no price; msgspec turns both into its ValidationError with the place.
    """

    input: _Amount | None = None
    output: _Amount | None = None
    cache_read: _Amount | None = None
    cache_write: _Amount | None = None
    cache_write_1h: _Amount | None = None
    tiers: tuple[Step, ...] = ()
    service_tiers: Mapping[str, _Amount | TierTable] = {}
    times: _Amount | None = None
    source: str = "override"

    def __post_init__(self) -> None:
        if self.times is not None:
            factor("times", self.times)
            rates = (self.input, self.output, self.cache_read, self.cache_write, self.cache_write_1h)
            if any(rate is not None for rate in rates) or self.tiers or self.service_tiers:
                raise ValueError("times: multiplies the price below this one; leave the other rates out, or write them all instead")
            return
        for name in ("input", "output"):
            if getattr(self, name) is None:
                raise ValueError(f"missing required field `{name}`")
        self.rates()
        _check_steps(self.tiers)
        check_service_tiers(self.service_tiers)

    def rates(self) -> Rates:
        """The override with its gaps filled. Not for one with `times`."""
        return _rates(self)

    def schedule(self) -> PriceSchedule:
        """The price that it makes by itself. Its version names the numbers, so that a changed override is another version in the ledger."""
        version = f"override-{digest(self)}"
        price = _price(self, self.source, version)
        tiers = {name: (PriceWindow(price=in_tier(name, said, price)),) for name, said in self.service_tiers.items()}
        return PriceSchedule(windows=(PriceWindow(price=price),), service_tiers=tiers)


def parse_override(table: Mapping[str, object]) -> PriceOverride:
    """An override from decoded JSON or TOML.

    Raises InvalidRequest that names the field in `param`: "tiers[0].input".
    """
    try:
        return msgspec.convert(table, PriceOverride)
    except msgspec.ValidationError as error:
        placed = _PLACE.match(str(error))
        what, where = (placed["what"], placed["where"]) if placed else (str(error), "")
        where = where.replace("[...]", f".{_broken_tier(table)}")
        field = _FIELD.match(what)
        missing = re.search(r"field `([a-z_0-9]+)`", what)
        name = missing[1] if missing else field["name"] if field else ""
        if where.rpartition(".")[2].partition("[")[0] == name:
            name = ""
        param = ".".join(part for part in (where, name) if part)
        raise InvalidRequest(f"{f'{where}: ' if where else ''}{what}", param=param or None) from error


def _broken_tier(table: Mapping[str, object]) -> str:
    """The tier of service whose table is none; msgspec does not tell the key."""
    tiers = table.get("service_tiers")
    for name, said in tiers.items() if isinstance(tiers, Mapping) else ():
        try:
            msgspec.convert(said, _Amount | TierTable)
        except msgspec.ValidationError:
            return str(name)[:40]
    return "*"


def check_key(key: str) -> tuple[str, str]:
    """Vendor and model of a key like "openai/gpt-5" or "openai/*". Raises InvalidRequest."""
    vendor, _, model = key.partition("/")
    if not vendor or not model or len(key) > 300:
        raise InvalidRequest(f'"{key[:80]}" must be "vendor/model", such as "openai/gpt-5", or "vendor/*"', param="model")
    return vendor, model


def check_service_tiers(tiers: Mapping[str, _Amount | TierTable]) -> None:
    """Raises TypeError or ValueError that names the tier."""
    for name, said in tiers.items():
        if name in STANDARD_TIERS or not _TIER_NAME.fullmatch(name):
            raise ValueError(f"service_tiers: {name[:40]!r} is not the vendor's word for a tier beside its standard one, such as flex or priority")
        if not isinstance(said, TierTable):
            factor(f"service_tiers.{name}", said)


def in_tier(name: str, said: _Amount | TierTable, standard: Price) -> Price:
    """What a service tier costs, said as a table or as a multiple of `standard`."""
    version = f"{standard.version}:{name}"
    if isinstance(said, TierTable):
        return _price(said, standard.source, version, standard.also_billed)
    return times(standard, factor(name, said), source=f"{standard.source}, times {said}", version=version)


def multiplied(below: PriceSchedule, override: PriceOverride) -> PriceSchedule:
    """Every price of a schedule, multiplied by the override's `times`."""
    by, mark = factor("times", override.times or "1"), f"override-{digest(override)}"

    def more(window: PriceWindow) -> PriceWindow:
        price = window.price
        source = f"{price.source}, times {override.times} ({override.source})"
        return msgspec.structs.replace(window, price=times(price, by, source=source, version=f"{price.version}+{mark}"))

    tiers = {name: tuple(map(more, windows)) for name, windows in below.service_tiers.items()}
    return PriceSchedule(windows=tuple(map(more, below.windows)), service_tiers=tiers)


def factor(name: str, said: _Amount) -> int:
    """A multiple in billionths. Raises TypeError, ValueError; zero is no multiple: what costs nothing is written as a price of zero."""
    if not isinstance(said, str):
        raise TypeError(f'{name} must be a quoted decimal, how many times the price: "{said}"')
    try:
        found = parse_usd(said)
    except ValueError:
        raise ValueError(f'{name}: must be a plain decimal with at most 9 decimals, such as "0.5" or "1.8", not {said[:40]!r}') from None
    if not 0 < found <= MOST_TIMES * _USD:
        raise ValueError(f"{name}: {said} times the price is no price; above 0 and up to {MOST_TIMES}")
    return found


def digest(value: object) -> str:
    """A short name for a value, the same for the same value."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:12]


def _price(table: PriceOverride | TierTable, source: str, version: str, also_billed: tuple[str, ...] = ()) -> Price:
    steps = [Tier(above_input_tokens=step.above_input_tokens, rates=_rates(step)) for step in table.tiers]
    tiers = (Tier(above_input_tokens=0, rates=_rates(table)), *steps)
    return Price(tiers=tiers, source=source, version=version, also_billed=also_billed)


def _rates(table: PriceOverride | TierTable | Step) -> Rates:
    fresh = rate("input", table.input)
    write = fresh if table.cache_write is None else rate("cache_write", table.cache_write)
    return Rates(
        fresh_input=fresh,
        cache_read=fresh if table.cache_read is None else rate("cache_read", table.cache_read),
        cache_write=write,
        cache_write_1h=write if table.cache_write_1h is None else rate("cache_write_1h", table.cache_write_1h),
        output=rate("output", table.output),
    )


def _check_steps(steps: tuple[Step, ...]) -> None:
    thresholds = [step.above_input_tokens for step in steps]
    if thresholds != sorted(set(thresholds)):
        raise ValueError(f"tiers: thresholds must ascend, not {thresholds[:8]}")


def rate(name: str, usd: _Amount | None) -> int:
    """Nano-USD per million tokens. Raises TypeError, ValueError."""
    if not isinstance(usd, str):
        raise TypeError(f'{name} must be a quoted decimal of USD per million tokens: {name} = "{usd}"')
    try:
        found = parse_usd(usd)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if found > MOST_USD * _USD:
        raise ValueError(f"{name}: more than USD {MOST_USD} per million tokens is no price; is it meant per token?")
    return found
