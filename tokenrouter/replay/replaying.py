"""The whole of it: a file in, a report out."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from tokenrouter.errors import ConfigError
from tokenrouter.model.principal import PromptCacheOptions
from tokenrouter.model.volatile import Template
from tokenrouter.prefixes.relocation import MOST_SLOTS, fault
from tokenrouter.prefixes.volatile import Slot, template_of
from tokenrouter.replay.bound import Clairvoyant
from tokenrouter.replay.leaks import Leaks, Lost
from tokenrouter.replay.read import NOTHING, Captured, Mistake, read
from tokenrouter.replay.report import Gatherer, Report
from tokenrouter.replay.run import AS_IT_CAME, MOVED, POLICIES, WITH_GATEWAY, Asked, Replayed, gateway_for
from tokenrouter.replay.seen import Seer, terms_of
from tokenrouter.replay.words import harmless

_Progress = Callable[[int], None]
_SECOND: Final = 1_000_000_000
_EPOCH_FROM_S: Final = 1_000_000_000.0
"""Times from here on (2001) are dates; earlier ones begin somewhere, and prices of today are taken."""


async def replay(path: Path, *, tenant: str = "replay", instead: Mapping[str, str] = NOTHING, progress: _Progress = lambda _: None) -> Report:
    """Send a file through one gateway per policy, request by request.

    `instead`: models to ask in the place of others. `progress` is told how many bytes of the file are done; it
    begins again where there are texts to move, which takes a second reading.

    Raises:
        ConfigError: there is nothing in the file that can be replayed, or time runs backwards in it.
    """
    work: _Work | None = None
    gatherer = Gatherer(harmless(str(path)), POLICIES)
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
    slots = work.leaks.slots
    approved = _approved(slots)
    if approved:
        await _move(path, instead, tenant, approved, work, progress)
    return gatherer.finish(work.bound.nano_usd(), work.leaks.leaks, slots, approved)


def _approved(slots: Sequence[Slot]) -> tuple[Template, ...]:
    """What somebody would approve: all that can be moved, the dearest first."""
    found: list[Template] = []
    for slot in slots:
        template = template_of(slot)
        if template is not None and not fault(template, found):
            found.append(template)
    return tuple(found[:MOST_SLOTS])


async def _move(path: Path, instead: Mapping[str, str], tenant: str, approved: tuple[Template, ...], work: "_Work", progress: _Progress) -> None:
    """The same requests once more, by a gateway that may move texts, as long as the file is the one that was read; else they do not add up."""
    with tempfile.TemporaryDirectory(prefix="tokenrouter-replay-") as folder:
        options = PromptCacheOptions(movable=approved)
        async with gateway_for(MOVED, Path(folder), work.start_ns, tenant, options) as gateway:
            with suppress(ConfigError):  # it is gone, or somebody writes to it
                for line in read(path, instead):
                    if isinstance(line.item, Captured) and not await work.take_again(line.item, gateway):
                        break
                    progress(line.upto)


def _print_of(captured: Captured) -> int:
    """By which a request is known again, in this process."""
    return hash((captured.at_s, captured.path, captured.query, captured.body))


class _Work:
    """What goes on from request to request."""

    def __init__(self, gateways: Sequence[Replayed], gatherer: Gatherer, tenant: str, start_ns: int, start_s: float) -> None:
        self._gateways, self._gatherer, self.start_ns, self._start_s = gateways, gatherer, start_ns, start_s
        self._taken: dict[int, int] = {}
        self._counted: set[int] = set()
        self._seer = Seer(gateways[0].services, tenant)
        self.leaks, self.bound = Leaks(tenant), Clairvoyant()

    async def take(self, captured: Captured) -> None:
        """One request under every policy."""
        at_ns = self._time_of(captured)
        self._taken[captured.number] = _print_of(captured)
        asked = {policy.id: await gateway.ask(captured, at_ns) for policy, gateway in zip(POLICIES, self._gateways, strict=True)}
        why = next((one.why for one in asked.values() if one.why), "")
        if why:
            self._gatherer.leave_out(Mistake(captured.number, why), refused=True)
            return
        self._counted.add(captured.number)
        self._gatherer.add(captured, asked, self._judge(captured, asked, at_ns))

    async def take_again(self, captured: Captured, gateway: Replayed) -> bool:
        """One request under the policy that came last; only what every other one has answered counts. False: it is none of those before."""
        if self._taken.get(captured.number) != _print_of(captured):
            return False
        asked = await gateway.ask(captured, self._time_of(captured))
        if captured.number in self._counted:
            self._gatherer.add_moved(asked)
        return True

    def _time_of(self, captured: Captured) -> int:
        return self.start_ns + round((captured.at_s - self._start_s) * _SECOND)

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
