"""What does the gateway save? Whole gateways in front of simulated vendors, on a clock that is moved: input cost, direct calls are 1.

python -m benchmarks.bench_savings [--data DIR] [--vendor claude|gpt-5.6|gpt-5.4|gemini|deepseek] [--only agents,rag] [--seed 1] [--json]

Every request is a body of the vendor's own API and goes through everything a request goes through. "direct" is a gateway that changes nothing (native
bodies go up as they came), "never" to "layout" are fixed markings set by the client in front of it, "gateway" is the gateway as it is by default.
Dollars are the simulator's own bill, which follows the vendors' published rules and prices and shares no code with the gateway. The bound knows the
future, and may keep every piece of a prompt by itself.

Requests that arrive within a second of each other overlap: none of them reads what another writes, unless it is held.
"""

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import prompts, workloads
from benchmarks.prompts import Body, Damage
from benchmarks.vendor_cache import Ask
from tokenrouter.api.admin.slots import resolved
from tokenrouter.errors import SlotRefused
from tokenrouter.model.directory import Tenant
from tokenrouter.model.principal import PromptCacheOptions
from tokenrouter.model.volatile import Template
from tokenrouter.replay.bound import Clairvoyant
from tokenrouter.replay.read import Captured
from tokenrouter.replay.run import AS_IT_CAME, WITH_GATEWAY, Policy, Replayed, gateway_for
from tokenrouter.replay.seen import Seer, terms_of
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.tiers import priced

_SECOND = 1_000_000_000
_START_NS = 1_790_000_000 * _SECOND
_OVERLAP_S = 1.0
_TENANT = "bench"


@dataclass(frozen=True)
class Vendor:
    """Where requests go. `fixed`: markings to compare with; "": as the client sends it."""

    model: str
    path: str
    body: Callable[[Ask, str], Body]
    fixed: tuple[str, ...]


VENDORS = {
    "claude": Vendor("claude-sonnet-5", "/v1/messages", prompts.messages_body, ("automatic", "end-5m", "end-1h", "spread-4", "layout")),
    "gpt-5.6": Vendor("gpt-5.6-sol", "/v1/chat/completions", prompts.chat_body, ("never", "end", "spread-4", "layout")),
    "gpt-5.4": Vendor("gpt-5.4", "/v1/chat/completions", prompts.chat_body, ()),
    "gemini": Vendor("gemini-3.5-flash", "/v1beta/models/gemini-3.5-flash:generateContent", prompts.gemini_body, ()),
    "deepseek": Vendor("deepseek-v4-pro", "/v1/chat/completions", prompts.chat_body, ()),
}


@dataclass(frozen=True)
class Workload:
    """Requests, and what their client does to them.

    hold_ms       cold starts may wait
    client_marks  a fixed marking that the client itself sets
    approves      after every tenth of the requests somebody approves all slots that were found (`volatile.relocate`)
    """

    asks: Sequence[Ask]
    damage: Damage | None = None
    hold_ms: int = 0
    client_marks: str = ""
    approves: bool = False


def generated(seed: int) -> dict[str, Callable[[], Workload]]:
    """Workloads by name."""

    def few() -> list[Ask]:
        return workloads.agents(seed, sessions=10, turns=(10, 40))

    def short() -> list[Ask]:
        return workloads.agents(seed, sessions=80, turns=(2, 5), every_s=20.0)

    return {
        "agents": lambda: Workload(few()),
        "agents, restless tools and ids": lambda: Workload(few(), prompts.restless),
        "agents, unordered schemas": lambda: Workload(few(), prompts.unordered),
        "agents, well marked": lambda: Workload(few(), client_marks="layout"),
        "agents, clock at the tail": lambda: Workload(few(), prompts.clock_at_tail),
        "agents, clock inside": lambda: Workload(few(), prompts.clock_inside),
        "agents, clock inside, approved": lambda: Workload(few(), prompts.clock_inside, approves=True),
        "agents, id in front": lambda: Workload(few(), prompts.request_id_first),
        "agents, line about the user": lambda: Workload(few(), prompts.user_line),
        "short agents": lambda: Workload(short()),
        "short agents, clock at the tail": lambda: Workload(short(), prompts.clock_at_tail),
        "RAG": lambda: Workload(workloads.rag(seed, requests=500)),
        "RAG, line about the user": lambda: Workload(workloads.rag(seed, requests=500), prompts.user_line),
        "slow chat": lambda: Workload(workloads.chat(seed, sessions=36)),
        "one-shots": lambda: Workload(workloads.unique(seed)),
        "twice": lambda: Workload(workloads.twice(seed, prompts=200)),
        "regimes": lambda: Workload(workloads.regimes(seed)),
        "fan-out": lambda: Workload(workloads.fan_out(seed)),
        "fan-out, held, in parts": lambda: Workload(workloads.fan_out(seed), prompts.one_message, hold_ms=5000),
        "fan-out, held": lambda: Workload(workloads.fan_out(seed), hold_ms=5000),
    }


def captured(workload: Workload, vendor: Vendor, policy: str, seed: int) -> list[Captured]:
    """The requests as a client sends them. `policy`: a fixed marking; "": none but its own."""
    found = []
    for number, ask in enumerate(workload.asks):
        body = vendor.body(ask, vendor.model)
        if workload.damage is not None:
            workload.damage(body, random.Random(f"{seed}.{number}"), ask.at_s)
        if policy or workload.client_marks:
            prompts.marked(body, policy or workload.client_marks)
        found.append(Captured(at_s=ask.at_s, path=vendor.path, body=json.dumps(body).encode(), number=number))
    return found


def bursts(requests: Sequence[Captured]) -> list[list[Captured]]:
    """Requests that overlap, together."""
    found: list[list[Captured]] = []
    for request in requests:
        if found and request.at_s - found[-1][0].at_s < _OVERLAP_S:
            found[-1].append(request)
        else:
            found.append([request])
    return found


async def _together(gateway: Replayed, burst: Sequence[Captured]) -> list[tuple[int, str, bytes]]:
    """All are on their way before the first answer begins; those who are held go on when it has begun."""
    sandbox = gateway.sandbox
    if len(burst) > 1:
        sandbox.barrier.hold()
    tasks = []
    for number, request in enumerate(burst):
        tasks.append(asyncio.create_task(gateway.send(request, _START_NS + round(request.at_s * _SECOND))))
        while len(burst) > 1 and sandbox.barrier.waiting_now + gateway.services.cold_starts.waiting <= number:  # noqa: ASYNC110  (two counters, neither of which tells)
            await asyncio.sleep(0)
    sandbox.barrier.release()
    return await asyncio.gather(*tasks)


class Result(msgspec.Struct, frozen=True):
    """Nano-USD of input, and of those after the first tenth; what it would have cost without any cache."""

    cost: int
    warm: int
    plain: int
    breaks: Mapping[str, int] = {}


async def _approve(gateway: Replayed) -> None:
    """Approve what was found to change in system texts, as an administrator would."""
    found = [slot for slot in gateway.services.prompts.slots_of(_TENANT) if slot["section"] == "system"]
    templates: tuple[Template, ...] = ()
    for slot in found:
        with contextlib.suppress(SlotRefused):
            templates = resolved([*[each.id for each in templates], str(slot["id"])], found, ())
    tenant = Tenant(name=_TENANT, prompt_cache=PromptCacheOptions(movable=templates))
    await gateway.gateway.keys.change_tenant(_TENANT, lambda _: tenant, actor="bench")
    await gateway.gateway.keys.refresh()


async def cost_of(requests: Sequence[Captured], policy: Policy, workload: Workload | None = None) -> Result:
    """What the simulated vendor bills for the input of all requests. `workload`: what its tenant allows the gateway."""
    hold_ms, approves = (workload.hold_ms, workload.approves) if workload is not None else (0, False)
    cost = warm = plain = 0
    breaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_for(policy, Path(folder), _START_NS, _TENANT, PromptCacheOptions(hold_ms=hold_ms)) as gateway:
            for burst in bursts(requests):
                if approves and burst[0].number % max(1, len(requests) // 10) == 0:
                    await _approve(gateway)
                gateway.sandbox.bill.clear()
                gateway.sandbox.requests.clear()
                for status, request_id, body in await _together(gateway, burst):
                    if status != 200:
                        raise RuntimeError(f"request {burst[0].number} got {status}: {body[:300].decode(errors='replace')}")
                    record = gateway.services.recorder.find(request_id, _TENANT)
                    if record is not None and record.cache_break:
                        breaks[record.cache_break] = breaks.get(record.cache_break, 0) + 1
                await gateway.services.flights.drain()
                for line in gateway.sandbox.bill.lines:
                    price = priced(line.model, line.tier)
                    price = price.long if price.long is not None and line.tokens.prompt > price.long_above else price
                    paid = price.cost(msgspec.structs.replace(line.tokens, output=0))
                    cost += paid
                    plain += price.cost(Tokens(input=line.tokens.prompt))
                    warm += paid if burst[0].number * 10 >= len(requests) else 0
    return Result(cost, warm, plain, breaks)


async def bound_of(requests: Sequence[Captured]) -> int:
    """What a clairvoyant would pay."""
    best = Clairvoyant()
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_for(AS_IT_CAME, Path(folder), _START_NS, _TENANT) as gateway:
            seer = Seer(gateway.services, _TENANT)
            for request in requests:
                gateway.sandbox.bill.clear()
                gateway.sandbox.requests.clear()
                at_ns = _START_NS + round(request.at_s * _SECOND)
                _, request_id, _ = await gateway.send(request, at_ns)
                await gateway.services.flights.drain()
                record = gateway.services.recorder.find(request_id, _TENANT)
                line = gateway.sandbox.bill.lines[0]
                seen = seer.see(request, record.vendor, record.model, at_ns) if record is not None else None
                if seen is None or not sum(seen.tokens):
                    raise RuntimeError(f"request {request.number} can not be read")
                price, scale = priced(line.model, line.tier), line.tokens.prompt / sum(seen.tokens)
                price = price.long if price.long is not None and line.tokens.prompt > price.long_above else price
                best.add("", request.at_s, seen.links, [tokens * scale for tokens in seen.tokens], terms_of(price, seen.limits, line.tokens.prompt))
    return best.nano_usd()[""]


def measure(workload: Workload, vendor: Vendor, seed: int, *, fixed: bool = True) -> dict[str, float]:
    """Cost relative to direct, per policy, and, where the client does no damage, "bound"; "warm": that of the gateway after the first tenth."""
    plain = captured(workload, vendor, "", seed)
    direct = asyncio.run(cost_of(plain, AS_IT_CAME))
    ours = asyncio.run(cost_of(plain, WITH_GATEWAY, workload))
    found = {"gateway": ours.cost / direct.cost, "warm": ours.warm / direct.warm, "plain": direct.plain / direct.cost}
    for policy in vendor.fixed if fixed else ():
        found[policy] = asyncio.run(cost_of(captured(workload, vendor, policy, seed), AS_IT_CAME)).cost / direct.cost
    if workload.damage is None:  # what a clairvoyant could do about damage is not in pieces as they came
        found["bound"] = asyncio.run(bound_of(plain)) / direct.cost
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with recorded traffic: trace_*.jsonl.gz, agent_*.jsonl.gz, tools_*.jsonl.gz")
    parser.add_argument("--vendor", choices=tuple(VENDORS), action="append", help="several times for several; all by default")
    parser.add_argument("--only", default="", help="names of workloads, comma-separated; a part of a name is enough")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="direct and gateway only")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    work = generated(arguments.seed)
    if arguments.data is not None:
        work |= {name: (lambda asks=asks: Workload(asks)) for name, asks in workloads.recorded(arguments.data, arguments.seed).items()}
    wanted = [part.strip() for part in arguments.only.split(";") if part.strip()]
    rows = []
    for name in arguments.vendor or VENDORS:
        vendor = VENDORS[name]
        columns = ("gateway", "warm", *(() if arguments.quick else vendor.fixed), "bound")
        if not arguments.json:
            print(
                f"\n{name} ({vendor.model}): input cost, direct = 1\n\n| workload | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}",
                flush=True,
            )
        for each, make in work.items():
            if wanted and not any(part in each for part in wanted):
                continue
            found = measure(make(), vendor, arguments.seed, fixed=not arguments.quick)
            rows.append({"vendor": name, "workload": each, **found})
            if not arguments.json:
                print(f"| {each} | {' | '.join(f'{found[column]:.3f}' if column in found else '' for column in columns)} |", flush=True)
    if arguments.json:
        print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
