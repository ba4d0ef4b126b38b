"""Where marks pay: the expected-value policy. Pure: a `Look` and prices in, a `Decision` out.

For every place the memory knows the chance p(l) that a later request passes it within a lifetime l. A token that can be read then saves
`value`: the discount, and the write that the later request would otherwise pay for again, as far as that would be worth it. So an entry at a
place is worth p(l) * value per token up to it, and a set of entries is worth, per token, what the best entry at or behind it is worth.
Marking costs the premium on tokens that are not read. Which places to mark, and for how long, is a small exact dynamic program:
at most `max_marks` marks, long lifetimes before short ones, only in front of entries that are there already.
Marks inside what is read cost nothing; they find the deepest entry and keep shallower ones alive.

The whole of it, with the memory and the ledger:

    tree = forest.of(sight.scope, model.cache)                 # `prefixes.forest.Forest`, one per process
    look = tree.look(sight, now_ns)
    decision = decide(look, rates, books.of(tenant, model), allowance)
    ticket = book.open(decision.worst_exact, own=not sight.marks)
    wishes = decision.wishes(sight)                            # for `pipeline.cache_injector.plan_cache`; `decision.mode` for the wire
    ... sent: tree.note(look, now_ns); first byte: tree.began(look, marks, started_ns, now_ns)
    learned = tree.learn(look, marks, usage, started_ns, now_ns); lesson = tree.lesson; book.close(ticket, usage, rates)

`marks` are (boundary, lifetime in seconds) of all that was sent, the client's included; in implicit mode the vendor's own end as well.
In `observe` mode nothing is opened or sent; the decision is recorded, and `learn` gets the marks that were really there.
"""

from collections.abc import Sequence
from operator import itemgetter

import msgspec

from tokenrouter.model.cache_plan import Breakpoint, PromptCacheLimits
from tokenrouter.model.prefix import Sight
from tokenrouter.money import NanoUSD, Rates
from tokenrouter.prefixes.looks import Live, Look, Mark, Place
from tokenrouter.prefixes.premiums import Allowance, Book, worst_premium

_MILLION = 1_000_000
_MARGIN = 5
"""Estimated tokens may fall short of real ones: a fifth is added where premiums are bounded."""
_CAUTION = 1.0
"""Standard errors that chances of paying premiums are taken lower."""
_DOUBT = 1.2
"""By how much premiums on conversations count for more than they are: what is not marked can still be marked when it comes back."""
_LONG_S = 3600
_EVIDENCE = 1.0
"""Spells that have outlived the short lifetime, which a long one has to rest on: of many returns within minutes nothing follows for the hour."""
_SPARE = 8
_first = itemgetter(0)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about one request's prompt cache.

    breakpoints  our own marks: (boundary, lifetime in seconds; 0 is the vendor's default), in rendering order
    mode         "": the vendor has no modes, or its client chose one; "implicit": it writes the newest message by itself, as it does
                 unless it is told otherwise; "explicit": it writes at marks only; "off": explicit, without a mark
    worst        the most that our marks can cost above plain input, in nano-USD
    expected     what is expected to be saved later, net of premiums, by marking so rather than not at all, in nano-USD
    reads        tokens that are expected to be read now
    why          one word for records: "pays", "reads" (nothing worth writing), "nothing" (nothing worth marking), "gated" (would pay, but the
                 allowance is spent), "small" (below the minimum), "vendor" (the vendor does it by itself), "client" (no room beside its marks)
    """

    breakpoints: tuple[Mark, ...] = ()
    mode: str = ""
    worst: NanoUSD = 0
    expected: NanoUSD = 0
    reads: int = 0
    why: str = "nothing"

    def wishes(self, sight: Sight) -> tuple[Breakpoint, ...]:
        """The marks as `pipeline.cache_injector.plan_cache` takes them, most wanted (the deepest) first."""
        return tuple([sight.breakpoint(boundary, lifetime_s) for boundary, lifetime_s in reversed(self.breakpoints)])

    @property
    def worst_exact(self) -> int:
        """As the gate counts: tokens times rates."""
        return self.worst * _MILLION


class _Lifetime(msgspec.Struct, frozen=True):
    """One lifetime that may be asked for. `premium`: per token, plain input is 1."""

    seconds: int
    premium: float
    long: bool


class _Entry(msgspec.Struct, frozen=True):
    """An entry that is there, or will be: worth per token up to `tokens`."""

    tokens: int
    worth: float


def decide(look: Look, rates: Rates, book: Book | None = None, allowance: Allowance | None = None) -> Decision:
    """The marks of one request. Without a book nothing bounds the premiums."""
    limits = look.limits
    if limits.style not in ("marks", "breakpoints"):
        return Decision(why="vendor")
    breakpoints = limits.style == "breakpoints"
    kept_end = breakpoints and look.sight.auto_end and bool(look.sight.marks)  # a client that marks by itself keeps its mode
    mode = "explicit" if breakpoints and look.sight.auto_end and not kept_end else ""
    idle = "off" if mode else ""
    if not look.places:
        return Decision(mode=idle, why="small")
    room = limits.max_marks - len({boundary for boundary, _ in look.sight.marks}) - kept_end
    if room <= 0:
        return Decision(why="client")
    price = max(rates.fresh_input, 1)
    discount = 1.0 - rates.cache_read / price
    lifetimes = _lifetimes(limits, rates)
    if discount <= 0:
        return Decision(mode=idle)
    deepest = look.live[-1] if look.live else None
    free = len(look.sight.links) - 1 if kept_end else max([boundary for boundary, _ in look.sight.marks], default=-1)
    written, value = _new_marks(look, lifetimes, discount, room - (1 if deepest else 0), free)
    options = [(written, value, "pays")] if written else []
    options += [((), 0.0, "reads" if deepest else "nothing")]
    for marks, worth, why in options:
        placed = _with_hedges(look, _with_reads(look, marks, room, lifetimes), room)
        worst = _worst(look, placed, rates)
        if worst and book is not None and allowance is not None and worst > book.room(rates, allowance, reading=not marks):
            continue
        reads = deepest.tokens if deepest and any(look.reaches(mark, deepest.boundary) for mark, _ in placed) else 0
        left = _by_vendor(look, placed) if mode else None
        return Decision(
            breakpoints=placed if left is None else left,
            mode=idle if not placed else mode if left is None else "implicit",
            worst=-(-worst // _MILLION),
            expected=int(worth * price) // _MILLION,
            reads=reads,
            why=why if why == "pays" or not written else "gated",
        )
    return Decision(mode=idle, why="gated")


def _lifetimes(limits: PromptCacheLimits, rates: Rates) -> tuple[_Lifetime, ...]:
    """Longest first. A second lifetime only where marks carry it and its price is known to be its own."""
    price = max(rates.fresh_input, 1)
    short = _Lifetime(limits.lifetimes_s[0] if limits.lifetimes_s else 300, rates.cache_write / price - 1.0, False)
    if limits.style == "marks" and len(limits.lifetimes_s) > 1 and rates.cache_write_1h > 0:
        return (_Lifetime(limits.lifetimes_s[1], rates.cache_write_1h / price - 1.0, True), short)
    return (short,)


def _values_of(look: Look, lifetimes: Sequence[_Lifetime], discount: float) -> list[tuple[float, ...]]:
    """`_values` of every place. Few differ: what comes after a return is a matter of the kind of place."""
    known: dict[tuple[int, bool], tuple[float, ...]] = {}
    found = []
    for place in look.places:
        key = (id(place.then), place.role == "root")
        values = known.get(key)
        if values is None:
            values = known[key] = _values(place, lifetimes, discount)
        found.append(values)
    return found


def _values(place: Place, lifetimes: Sequence[_Lifetime], discount: float) -> tuple[float, ...]:
    """What a token saves if it can be read at the next return (plain input is 1), per lifetime of the entry.

    The discount, and how much better off the later request is with the entry than without, when it would write anew if that paid.
    Behind the root prompts grow, so that a live entry is carried on by a mark behind it at any lifetime, for the price of what is new.
    """
    further = []
    anew = 0.0
    for lifetime in lifetimes:
        gain = discount * place.then.further(lifetime.seconds)
        further.append(gain)
        if gain - lifetime.premium > anew:
            anew = gain - lifetime.premium
    if place.role != "root" and anew > 0.0:
        return (discount + lifetimes[-1].premium,) * len(lifetimes)
    return tuple([discount + (gain - anew if gain > anew else 0.0) for gain in further])


def _entries(look: Look, lifetimes: Sequence[_Lifetime], values: Sequence[tuple[float, ...]]) -> list[_Entry]:
    """What entries that are there are worth, shallowest first: per token at or before each, the best one behind counts."""
    worth: list[_Entry] = []
    by_place = {place.boundary: (place.odds, each) for place, each in zip(look.places, values, strict=True)}
    best = 0.0
    for live in reversed(look.live):
        found = by_place.get(live.boundary)
        if found is not None:
            odds, each = found
            kind = 0 if lifetimes[0].seconds <= live.lifetime_s else len(lifetimes) - 1
            best = max(best, odds.within(live.lifetime_s) * each[kind] * (1.0 - look.lost))
            worth.append(_Entry(live.tokens, best))
    worth.reverse()
    return worth


def _above(entries: Sequence[_Entry], worth: float, start: int, stop: int) -> float:
    """How much more than by `entries` the tokens from `start` to `stop` are worth with an entry of `worth` behind them."""
    total = 0.0
    at = start
    for entry in entries:
        if entry.tokens <= at:
            continue
        reach = min(entry.tokens, stop)
        if worth > entry.worth:
            total += (reach - at) * (worth - entry.worth)
        at = reach
        if at >= stop:
            return total
    return total + (stop - at) * worth


class _Option(msgspec.Struct, frozen=True):
    """A mark that may be set. `order`: of its place; `kind`: of its lifetime; `worth`: per token up to it; `premium`: per token written."""

    order: int
    kind: int
    mark: Mark
    tokens: int
    worth: float
    premium: float


_Plan = tuple[float, tuple[Mark, ...], _Option]
"""Its worth, its marks, and the last of them."""


def _options(look: Look, lifetimes: Sequence[_Lifetime], values: Sequence[tuple[float, ...]]) -> list[_Option]:
    """Marks behind all entries that are there, shallowest first, as the client's own allow them."""
    base = look.live[-1].boundary if look.live else -1
    fixed = [(boundary, look.lifetime(lifetime_s) >= _LONG_S) for boundary, lifetime_s in look.sight.marks]
    taken = {boundary for boundary, _ in fixed}
    must_long = max([boundary for boundary, long in fixed if long], default=-1)
    must_short = min([boundary for boundary, long in fixed if not long], default=len(look.sight.links))
    kept = 1.0 - look.lost
    options = []
    for order, place in enumerate(look.places):
        boundary = place.boundary
        if boundary <= base or boundary in taken:
            continue
        doubt, caution = (1.0, _CAUTION / 2) if place.role in ("root", "stable") else (_DOUBT, _CAUTION)
        for kind, lifetime in enumerate(lifetimes):
            if (lifetime.long and boundary > must_short) or (not lifetime.long and boundary < must_long):
                continue
            if lifetime.long and boundary >= must_long and place.odds.late < _EVIDENCE:
                continue
            worth = place.odds.surely(lifetime.seconds, caution) * values[order][kind] * kept
            mark = (boundary, lifetime.seconds if lifetime.long else 0)
            options.append(_Option(order, kind, mark, place.tokens, worth, lifetime.premium * doubt))
    return options


def _new_marks(look: Look, lifetimes: Sequence[_Lifetime], discount: float, room: int, free: int) -> tuple[tuple[Mark, ...], float]:
    """The best marks behind all entries that are there, and what they are worth net, in tokens. `free`: up to here the client writes anyway."""
    values = _values_of(look, lifetimes, discount)
    options = _options(look, lifetimes, values)
    if not options or room <= 0:
        return (), 0.0
    paid = max(look.live[-1].tokens if look.live else 0, look.tokens_at(free))
    entries = _entries(look, lifetimes, values)
    firsts: list[_Plan] = [
        (_above(entries, option.worth, 0, option.tokens) - option.premium * max(0, option.tokens - paid), (option.mark,), option)
        for option in options
    ]
    best, marks, _ = max(firsts, key=_first)
    level = firsts
    for _ in range(min(room, len(look.places)) - 1):
        longer: list[_Plan] = []
        for option in options:
            top = 0.0
            top_marks: tuple[Mark, ...] | None = None
            order, kind, upto = option.order, option.kind, option.tokens
            net, free_of = option.worth - option.premium, option.premium
            for so_far, before, last in level:
                if last.order >= order or last.kind > kind:
                    continue
                behind = last.tokens  # at or behind all entries that are there, so that nothing but this mark reaches further
                gain = so_far + net * (upto - behind)
                if paid > behind:
                    gain += free_of * (min(paid, upto) - behind)
                if top_marks is None or gain > top:
                    top, top_marks = gain, before
            if top_marks is not None:
                longer.append((top, (*top_marks, option.mark), option))
        if not longer:
            break
        level = longer
        found = max(longer, key=_first)
        if found[0] > best:
            best, marks, _ = found
    return (marks, best) if best > 0.0 else ((), 0.0)


def _with_reads(look: Look, marks: tuple[Mark, ...], room: int, lifetimes: Sequence[_Lifetime]) -> tuple[Mark, ...]:
    """The marks, and those that read the deepest entry and keep shallower ones alive, as far as there is room."""
    if not look.live or len(marks) >= room:
        return marks
    long = lifetimes[0].seconds if any(lifetime_s >= _LONG_S for _, lifetime_s in marks) else 0
    taken = {boundary for boundary, _ in marks} | {boundary for boundary, _ in look.sight.marks}
    first = min([boundary for boundary, lifetime_s in look.sight.marks if 0 < look.lifetime(lifetime_s) < _LONG_S], default=None)
    added: list[Mark] = []
    deepest = look.live[-1]
    for live in _by_use(look):
        if len(marks) + len(added) >= room:
            break
        if live.boundary in taken or not look.sight.markable[live.boundary]:
            continue
        if live is deepest and any(look.reaches(mark, live.boundary) and _finds(look, mark, live) for mark in taken) and look.limits.style == "marks":
            continue
        lifetime_s = long if first is None or live.boundary < first else 0
        added.append((live.boundary, lifetime_s))
    return tuple(sorted((*added, *marks)))


def _by_vendor(look: Look, marks: tuple[Mark, ...]) -> tuple[Mark, ...] | None:
    """The marks that are left to set where the vendor writes the newest message by itself; None where it is not to.

    It finds recent ends of messages by itself, too. So what is said in a conversation goes up as it came, in one form in all its requests.
    """
    sight = look.sight
    newest = len(sight.links) - 1
    if newest not in dict(marks):
        return None
    inner = {boundary for boundary, _, _ in sight.inner}
    return tuple([mark for mark in marks if mark[0] != newest and (mark[0] < sight.root or mark[0] in inner)])


def _with_hedges(look: Look, marks: tuple[Mark, ...], room: int) -> tuple[Mark, ...]:
    """The marks, and those at the ends of what other conversations may share: inside of what is written anyway they cost nothing."""
    if not marks:
        return marks
    sight, base = look.sight, look.live[-1].boundary if look.live else -1
    found = dict(marks)
    last, own = max(found), {boundary for boundary, _ in sight.marks}
    for boundary in (sight.stable, sight.root - 1, sight.tools - 1, *range(sight.root - 2, sight.tools - 1, -1)):
        if len(found) >= room:
            break
        if not base < boundary < last or boundary in found or boundary in own or not sight.markable[boundary]:
            continue
        if look.tokens_at(boundary) >= look.least:
            found[boundary] = max([lifetime_s for other, lifetime_s in found.items() if other > boundary and lifetime_s >= _LONG_S], default=0)
    return tuple(sorted(found.items()))


def _finds(look: Look, mark: int, live: Live) -> bool:
    """Whether a mark meets this entry first when it looks back."""
    return not any(live.boundary < other.boundary <= mark for other in look.live)


def _by_use(look: Look) -> list[Live]:
    """The deepest entry first, then those that most would miss."""
    by_place = {place.boundary: place for place in look.places}
    known = [live for live in look.live[:-1] if live.boundary in by_place]

    def use(live: Live) -> float:
        return by_place[live.boundary].odds.within(live.lifetime_s) * live.tokens

    others = [live for live in reversed(look.live[-_SPARE:-1]) if live.boundary not in by_place]
    return [look.live[-1], *sorted(known, key=use, reverse=True), *others]


def _worst(look: Look, marks: Sequence[Mark], rates: Rates) -> int:
    """The worst premium of our marks beside the client's, in tokens times rates."""
    if not marks:
        return 0
    last = max(boundary for boundary, _ in marks)
    known, _ = look.exact_before(last + 1)

    def stretches(both: Sequence[Mark]) -> list[tuple[int, bool]]:
        found = []
        for boundary, lifetime_s in sorted(both):
            tokens = look.tokens_at(boundary)
            if boundary > known:
                tokens += tokens // _MARGIN
            found.append((tokens, look.lifetime(lifetime_s) >= _LONG_S))
        return found

    if not look.sight.marks:
        return worst_premium(stretches(marks), rates)
    return max(0, worst_premium(stretches([*look.sight.marks, *marks]), rates) - worst_premium(stretches(look.sight.marks), rates))
