"""Requests in, breaks out: the pipeline and the diagnosis as the gateway calls them, and a provider that caches by itself."""

import json
from dataclasses import dataclass, field

from tokenrouter.adapters.inbound.client_sessions import header_session
from tokenrouter.adapters.known import known_dialects
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.money import Rates
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import Memo, canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import prefix_chain
from tokenrouter.prefixes.diagnosis import Context, diagnose
from tokenrouter.prefixes.sessions import Sessions, session_key
from tokenrouter.prefixes.snapshots import take

SEED = 0x5EED
RATES = Rates(fresh_input=3_000_000_000, cache_read=300_000_000, cache_write=3_750_000_000, cache_write_1h=6_000_000_000, output=15_000_000_000)
LIFETIME_S = 300
MARKS = ("cache_control", "prompt_cache_breakpoint")
NOT_PROMPT = frozenset(("model", "stream", "messages", "input", "contents", "tools", "system", "instructions", "systemInstruction", "max_tokens"))
NOT_PROMPT |= {"metadata", "prompt_cache_key", "store", "temperature", "top_p", "seed", "max_completion_tokens", "user"}


@dataclass
class Asked:
    """One request: who asks what, when, and by which account it is served."""

    dialect: str
    body: dict
    at_s: float
    session: str = ""
    account: str = "account-1"
    model: str = ""
    affinity: str = ""
    headers: dict = field(default_factory=dict)
    tenant: str = "tenant-a"
    evicted: bool = False
    silent: bool = False
    lasts_s: float = 2.0


class Provider:
    """Keeps what it was sent, piece by piece, for a lifetime after the last use; reads the longest prefix of which it has every piece."""

    def __init__(self, minimum=1024):
        self.minimum = minimum
        self.kept = {}

    def usage(self, asked):
        scope = json.dumps([asked.tenant, asked.account, asked.model or asked.body.get("model", ""), asked.affinity, self.front(asked)])
        if asked.evicted:
            self.kept = {key: until for key, until in self.kept.items() if key[0] != scope}
        pieces, total, read, prefix = self.pieces(asked), 0, 0, ()
        live = True
        for piece in pieces:
            total += round(len(piece) / 3.6)
            prefix = hash((prefix, piece))
            ready, until = self.kept.get((scope, prefix), (0, 0))
            live = live and ready <= asked.at_s <= until
            if live:
                read = total
        read = read - read % self.grain(asked) if read >= self.minimum else 0
        prefix = ()
        for piece in pieces:
            prefix = hash((prefix, piece))
            ready, until = self.kept.get((scope, prefix), (asked.at_s + asked.lasts_s, 0))
            if until < asked.at_s:
                ready = asked.at_s + asked.lasts_s
            self.kept[scope, prefix] = (ready, asked.at_s + LIFETIME_S)
        return Usage(fresh_input=total - read, cache_read=read, output=50)

    def grain(self, _asked):
        """In steps of how many tokens it reads."""
        return 128

    def front(self, asked):
        body = {name: value for name, value in asked.body.items() if name not in NOT_PROMPT}
        return json.dumps([body, {name: value for name, value in asked.headers.items() if "beta" in name}])

    def pieces(self, asked):
        body, out = asked.body, []
        out += [json.dumps(unmarked(tool)) for tool in asked.body.get("tools", [])]
        for name in ("system", "instructions", "systemInstruction"):
            said = body.get(name)
            if said:
                out += [json.dumps(unmarked(piece)) for piece in (said if isinstance(said, list) else [said])]
        for name in ("messages", "input", "contents"):
            out += [json.dumps(unmarked(message)) for message in body.get(name, [])]
        return out


def unmarked(value):
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    if isinstance(value, dict):
        return {name: unmarked(inner) for name, inner in value.items() if name not in MARKS}
    return value


class Desk:
    """What the gateway does around an answer, without a gateway."""

    def __init__(self, *, sort_tools=False, sessions=None, minimum=1024, tells=True):
        self.sessions = sessions or Sessions()
        self.provider = Provider(minimum)
        self.minimum, self.tells, self.sort_tools = minimum, tells, sort_tools
        self.memo = Memo(SEED)
        self.dialects = known_dialects()
        self.count = 0

    def snapshot(self, asked):
        dialect = self.dialects[asked.dialect]
        outside = {name: value for name, value in asked.headers.items() if name in dialect.headers}
        if asked.dialect == "gemini-generate":
            outside |= {":model": asked.model or "gemini-2.5-pro", ":method": "generateContent"}
        raw = json.dumps(asked.body, ensure_ascii=False, separators=(",", ":")).encode()
        envelope = dialect.parse(raw, outside)
        chunks, params = chunk(envelope, self.memo, ())
        canonical = canonicalize(arrange(chunks, sort_tools=self.sort_tools), params, frozenset())
        model = asked.model or params.model
        headers = asked.headers | ({"x-tokenrouter-session": asked.session} if asked.session else {})
        key = session_key(b"secret", asked.tenant, header_session(headers) or params.session, canonical)
        self.count += 1
        return take(
            envelope,
            canonical,
            prefix_chain(canonical, tenant=asked.tenant, model=model, seed=SEED),
            request_id=f"r{self.count}",
            tenant=asked.tenant,
            account=asked.account,
            model=model,
            session=key,
            at_ns=round(asked.at_s * 1e9),
            affinity=asked.affinity,
        )

    def ask(self, asked):
        """The break of one request, or None."""
        return self.answer(self.start(asked))

    def start(self, asked):
        """Send it; the provider is reached at once."""
        now = self.snapshot(asked)
        usage = self.provider.usage(asked)
        return asked, now, usage

    def answer(self, started):
        asked, now, usage = started
        if not self.tells or asked.silent:
            usage = NO_USAGE
        past = self.sessions.before(now)
        found = diagnose(past, now, Context(usage=usage, rates=RATES, lifetime_s=LIFETIME_S, minimum=self.minimum))
        cached = usage.input_total if usage.reported else -1
        self.sessions.keep(now, ready_ns=round((asked.at_s + asked.lasts_s) * 1e9), cached=cached, total=usage.input_total)
        return found
