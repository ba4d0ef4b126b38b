"""The whole of it: a file in, a report out."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tokenrouter.errors import ConfigError
from tokenrouter.replay.bound import Clairvoyant
from tokenrouter.replay.leaks import Leaks, Lost
from tokenrouter.replay.read import NOTHING, Captured, Mistake, read
from tokenrouter.replay.report import Gatherer, Report
from tokenrouter.replay.run import AS_IT_CAME, POLICIES, WITH_GATEWAY, Asked, Replayed, gateway_for
from tokenrouter.replay.seen import Seer, terms_of

_SECOND: Final = 1_000_000_000
_EPOCH_FROM_S: Final = 1_000_000_000.0
"""Times from here on (2001) are dates; earlier ones begin somewhere, and prices of today are taken."""


async def replay(
    path: Path, *, tenant: str = "replay", instead: Mapping[str, str] = NOTHING, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Send a file through one gateway per policy, request by request.

    `instead`: models to ask in the place of others. `progress` is told how many bytes of the file are done.

    Raises:
        ConfigError: there is nothing in the file that can be replayed, or time runs backwards in it.
    """
    work: _Work | None = None
    gatherer = Gatherer(str(path), POLICIES)
    first: Mistake | None = None
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenrouter-replay-")))
        for line in read(path, instead):
            item = line.item
            if isinstance(item, Mistake):
                first = first or item
                gatherer.leave_out(item)
            elif item is not None:
                if work is None:
                    start_ns = round(item.at_s * _SECOND) if item.at_s >= _EPOCH_FROM_S else time.time_ns()
                    gateways = [await stack.enter_async_context(gateway_for(each, folder / each.id, start_ns, tenant)) for each in POLICIES]
                    work = _Work(gateways, gatherer, tenant, start_ns, item.at_s)
                await work.take(item)
            progress(line.upto)
    if work is None:
        raise ConfigError(f"{path}: no request is in it" + (f"; line {first.number}: {first.why}" if first is not None else ""))
    return gatherer.finish(work.bound.nano_usd(), work.leaks.leaks, work.leaks.slots)


class _Work:
    """What goes on from request to request."""

    def __init__(self, gateways: Sequence[Replayed], gatherer: Gatherer, tenant: str, start_ns: int, start_s: float) -> None:
        self._gateways, self._gatherer, self._start_ns, self._start_s = gateways, gatherer, start_ns, start_s
        self._seer = Seer(gateways[0].services, tenant)
        self.leaks, self.bound = Leaks(tenant), Clairvoyant()

    async def take(self, captured: Captured) -> None:
        """One request under every policy."""
        at_ns = self._start_ns + round((captured.at_s - self._start_s) * _SECOND)
        asked = {policy.id: await gateway.ask(captured, at_ns) for policy, gateway in zip(POLICIES, self._gateways, strict=True)}
        why = next((one.why for one in asked.values() if one.why), "")
        if why:
            self._gatherer.leave_out(Mistake(captured.number, why), refused=True)
            return
        self._gatherer.add(captured, asked, self._judge(captured, asked, at_ns))

    def _judge(self, captured: Captured, asked: dict[str, Asked], at_ns: int) -> Lost | None:
        """What was lost as it came; and what a clairvoyant makes of it."""
        plain, best = asked[AS_IT_CAME.id], asked[WITH_GATEWAY.id]
        record = best.record
        name = f"{record.vendor}/{record.model}"
        seen = self._seer.see(captured, record.vendor, record.model, at_ns)
        if plain.price is None or best.price is None:
            return None
        prompt = best.tokens.prompt
        if seen is None or not sum(seen.tokens):
            self.bound.pay(name, best.input_nano)
            return None
        scale = prompt / sum(seen.tokens)
        terms = terms_of(best.price, seen.limits, prompt)
        self.bound.add(name, captured.at_s, seen.links, [tokens * scale for tokens in seen.tokens], terms)
        return self.leaks.add(seen, plain.tokens, plain.price, captured.number)
