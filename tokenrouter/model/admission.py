"""What is asked of admission, and what it says. The same values for every place that counts (this process, or Redis)."""

import msgspec

from tokenrouter.errors import Unavailable
from tokenrouter.model.kept import KeptAnswer
from tokenrouter.model.rules import Cap, Limit


class CountedLimit(msgspec.Struct, frozen=True):
    """A limit that binds a caller, and the name of its counter inside the tenant."""

    limit: Limit
    counter: str


class CountedCap(msgspec.Struct, frozen=True):
    """A cap that binds a caller, and its counter's name without the period."""

    cap: Cap
    counter: str


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that binds one caller who asks for one model. Made once and remembered (`quota.rules.Binder`)."""

    tenant: str
    requests: tuple[CountedLimit, ...] = ()
    tokens: tuple[CountedLimit, ...] = ()
    concurrency: tuple[CountedLimit, ...] = ()
    caps: tuple[CountedCap, ...] = ()
    zone: str = "UTC"


class Worst(msgspec.Struct, frozen=True):
    """What a call can come to at most: nano-USD (rounded up) and tokens, input and output. `sandbox`: no real money."""

    usd: int
    tokens: int
    sandbox: bool


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller wants, all or nothing.

    id        of the request: tickets and holds bear it
    requests  take one from the request limits
    lease     take a place in the concurrency limits
    worst     hold this on token limits and caps, if no kept answer is found; None: only looks, or follows
    answer    identity of an answer that would do; found, it is given, and only requests are taken
    intent    what the ledger is told if the hold is placed (a RequestRecord as JSON); b"": nothing
    """

    id: str
    requests: bool = True
    lease: bool = False
    worst: Worst | None = None
    answer: bytes | None = None
    intent: bytes = b""


class HeldCap(msgspec.Struct, frozen=True):
    """Money or tokens that a call holds on one counter; the counter's name bears its period."""

    cap: Cap
    counter: str
    amount: int


class TakenTokens(msgspec.Struct, frozen=True):
    """Tokens that a call took from one limit.

    entry   which entry of a sliding window, by its tick
    inside  how much of it stands in that entry, and may be given back: less than `amount` where an entry before it has left the window
    """

    limit: Limit
    counter: str
    amount: int
    entry: int = 0
    inside: int = 0


class Hold:
    """The worst case of one call, set aside. Settled once; settling again changes nothing.

    usd, tokens  the worst case
    admitted_ns  by the clock of who counts: the moment whose period it is booked in
    """

    __slots__ = ("admitted_ns", "caps", "id", "intent", "local", "sandbox", "settled", "takes", "tenant", "tokens", "usd")

    def __init__(
        self,
        request_id: str,
        tenant: str,
        worst: Worst,
        *,
        caps: tuple[HeldCap, ...] = (),
        takes: tuple[TakenTokens, ...] = (),
        admitted_ns: int = 0,
        intent: bytes = b"",
        local: bool = False,
    ) -> None:
        """`local`: placed while the shared counters were away, on what this process had leased from them before."""
        self.id, self.tenant = request_id, tenant
        self.usd, self.tokens, self.sandbox = worst.usd, worst.tokens, worst.sandbox
        self.caps, self.takes, self.admitted_ns, self.intent, self.local = caps, takes, admitted_ns, intent, local
        self.settled = False


class Ticket(msgspec.Struct, frozen=True):
    """Places in concurrency limits that one caller holds until it leaves: (counter, ...)."""

    id: str
    tenant: str
    leases: tuple[str, ...] = ()
    local: bool = False


class Standing(msgspec.Struct, frozen=True):
    """Where a caller stands with the tightest limit of a kind, for the headers of the answer. `reset_ms`: until it is whole again."""

    limit: int
    remaining: int
    reset_ms: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing was admitted, and nothing taken. One of `limit` and `cap` is there.

    retry_ms  until the same request could pass, as far as this limit goes; -1: it never will, or nobody can say
    left      what the counter still has room for; of a cap in its unit
    held      of a cap: what calls under way have set aside of it, and may give back in part
    resets_ms of a cap: when its period ends, milliseconds since the epoch; 0: never
    """

    limit: Limit | None = None
    cap: Cap | None = None
    retry_ms: int = -1
    left: int = 0
    resets_ms: int = 0
    held: int = 0


class Refused(Exception):
    """Nothing was admitted. Made into the caller's words by `quota.refusals`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class NeedsRebuild(Unavailable):
    """The shared counters are being rebuilt; try again."""

    def __init__(self, name: str) -> None:
        """`name`: the tenant whose counters are not there (never were, or were lost), or the global budget."""
        super().__init__()
        self.name = name


class Crossing(msgspec.Struct, frozen=True):
    """A cap's share was reached for the first time in its period."""

    cap: Cap
    counter: str
    share: int
    spent: int
    tenant: str = ""


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What was given.

    hold      placed as asked; None where nothing was to be held, or an answer was found
    kept      the answer that was found
    warnings  caps that are reached and only warn
    """

    ticket: Ticket | None = None
    hold: Hold | None = None
    kept: KeptAnswer | None = None
    requests: Standing | None = None
    tokens: Standing | None = None
    warnings: tuple[Cap, ...] = ()


class CapState(msgspec.Struct, frozen=True):
    """A cap's counter: nano-USD or tokens that are spent for certain, held by calls under way, and presumed spent."""

    spent: int = 0
    held: int = 0
    presumed: int = 0

    @property
    def total(self) -> int:
        """Everything that counts against the cap."""
        return self.spent + self.held + self.presumed


class LimitLook(msgspec.Struct, frozen=True):
    """Where a limit stands, for people.

    most      what it allows at once, as far as this process decides it
    left      what may be taken; below 0 where more was used than there was
    whole_ms  until everything may be taken, if nobody takes anything; -1: nobody can say (places)
    """

    limit: Limit
    counter: str
    most: int
    left: int
    whole_ms: int


class CapLook(msgspec.Struct, frozen=True):
    """Where a cap stands, for people.

    counter  its name with the period; "" for a cap of single requests, which counts nothing
    ends_ms  when its period is over, milliseconds since the epoch; 0: never
    """

    cap: Cap
    counter: str
    state: CapState
    ends_ms: int = 0

    @property
    def left(self) -> int:
        """What it still has room for; below 0 where more was spent than it allows."""
        return self.cap.amount - self.state.total


class Look(msgspec.Struct, frozen=True):
    """Everything that binds a caller, at one moment. In the order in which admission looks at it: requests, places, tokens, caps."""

    now_ms: int
    limits: tuple[LimitLook, ...] = ()
    caps: tuple[CapLook, ...] = ()
