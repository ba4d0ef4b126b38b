"""`tokenrouter explain REQUEST.json`: what every room does to one request. The same functions as in the gateway; nothing is sent."""

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from tokenrouter.adapters.inbound.wishes import read_wishes
from tokenrouter.adapters.known import known_dialects, known_wires
from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.cli.price_book import book_in_force
from tokenrouter.errors import ConfigError
from tokenrouter.model.cache_plan import Breakpoint, CachePlan, Writing
from tokenrouter.model.catalog import Target
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import EDITS, TOOLS_ORDER, VOLATILE_KNOWN
from tokenrouter.model.envelope import Envelope, Params
from tokenrouter.model.prefix import CacheScope
from tokenrouter.model.usage import Usage
from tokenrouter.money import cost, format_usd
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import Memo, canonicalize
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.pipeline.hasher import answer_identity, prefix_chain
from tokenrouter.prefixes.expected_value import decide
from tokenrouter.prefixes.forest import Forest
from tokenrouter.serving.planning import Planner
from tokenrouter.serving.sighting import sight_of, writing_of
from tokenrouter.settings import Settings, load_settings
from tokenrouter.upstream.lane import Asked
from tokenrouter.upstream.lanes import is_native, open_lane

_PREVIEW = 60
_LONGEST_SHOWN = 200
_O200K_FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""tiktoken's own name for the o200k vocabulary in its cache; without it there, tiktoken would go to the network."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it."""

    envelope: Envelope
    params: Params
    canonical: Canonical
    target: Target
    plan: CachePlan
    edits: tuple[str, ...]
    dropped: tuple[str, ...]
    body: bytes
    chain: tuple[bytes, ...]
    identity: bytes


def explain(arguments: argparse.Namespace) -> int:
    """Print it. Raises ConfigError, InvalidRequest, ModelNotFound, UnsupportedField."""
    settings = load_settings(os.environ, config=arguments.config)
    try:
        raw = sys.stdin.buffer.read() if arguments.request == "-" else Path(arguments.request).read_bytes()
    except OSError as error:
        raise ConfigError(f"{arguments.request}: {error.strerror}") from error
    catalog = load_catalog(msgspec.structs.replace(settings, sandbox=True))  # shows vendors that are not set up, too
    done = understand(raw, catalog, settings, tenant=arguments.tenant, model=_asked(arguments), dialect=arguments.dialect)
    report = as_report(done, settings, catalog)
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        _print(done, report)
    return 0


def _asked(arguments: argparse.Namespace) -> str | None:
    if arguments.model:
        return f"{arguments.vendor}/{arguments.model}" if arguments.vendor else str(arguments.model)
    return f"{arguments.vendor}/" if arguments.vendor else None


def understand(raw: bytes, catalog: Catalog, settings: Settings, *, tenant: str, model: str | None, dialect: str = "openai-chat") -> Explained:
    """Take a request through all rooms, as the gateway would on a miss. `model`: instead of the one that the request names.

    Raises:
        ConfigError: there is no such dialect.
    """
    dialects = known_dialects(settings.default_model)
    if dialect not in dialects:
        raise ConfigError(f"unknown dialect {dialect!r}; one of {', '.join(dialects)}")
    spoken = dialects[dialect]
    # Some dialects name model and method in the path, which a file does not have.
    outside = {":model": model or "", ":method": "generateContent"} if dialect.startswith("gemini") else {}
    envelope = spoken.parse(raw, outside)
    chunks, params = chunk(envelope, Memo(seed=0), catalog.volatile)
    name = params.model if model is None else model + params.model if model.endswith("/") else model
    target = catalog.resolve(name)
    deployment, edits = target.deployments[0], settings.edits - read_wishes({}, envelope.extensions).edits_off
    canonical = canonicalize(arrange(chunks, sort_tools=TOOLS_ORDER in edits), params, edits & {VOLATILE_KNOWN})
    planner = Planner(prefix_seed=0, affinity_secret=b"explain")
    resolved = f"{target.model.vendor}/{target.model.name}"
    chain = prefix_chain(canonical, tenant=tenant, model=resolved, seed=0)
    wishes, writing = _first_sight(canonical, target, chain, params, settings, catalog, tenant) if chain else ((), "")
    wires = known_wires(catalog.volatile)
    native = is_native(deployment, spoken, wires)
    plan = planner.plan(
        *(canonical, target.model, deployment, edits),
        tenant=tenant,
        own_affinity=params.own_affinity,
        wishes=wishes,
        writing=writing,
        native=native,
    )
    asked = Asked(
        envelope=envelope,
        canonical=canonical,
        params=params,
        model=target.model,
        deployment=deployment,
        plan=plan,
        edits=edits,
        volatile=catalog.volatile,
    )
    outgoing = open_lane(asked, spoken, wires, created_s=0).outgoing
    return Explained(
        envelope=envelope,
        params=params,
        canonical=canonical,
        target=target,
        plan=plan,
        edits=outgoing.edits,
        dropped=outgoing.dropped,
        body=outgoing.body,
        chain=chain,
        identity=answer_identity(canonical, tenant=tenant, model=resolved, dialect=dialect),
    )


def _first_sight(
    canonical: Canonical, target: Target, chain: tuple[bytes, ...], params: Params, settings: Settings, catalog: Catalog, tenant: str
) -> tuple[tuple[Breakpoint, ...], Writing]:
    """Where a gateway that has never seen anything like it would mark."""
    model, now_ns = target.model, time.time_ns()
    schedule = book_in_force(settings, catalog).schedule(model.vendor, model.name)
    if schedule is None or model.cache.style not in ("marks", "breakpoints"):
        return (), ""
    scope = CacheScope(tenant, target.deployments[0].name, f"{model.vendor}/{model.name}")
    sight = sight_of(canonical, model.cache, chain, scope, writing=params.cache_writing)
    decision = decide(Forest().of(scope, model.cache).look(sight, now_ns), schedule.at(now_ns).rates_for(sum(sight.tokens)))
    return decision.wishes(sight), writing_of(decision, sight)


def as_report(done: Explained, settings: Settings, catalog: Catalog) -> dict[str, object]:
    """The same for machines."""
    canonical, target = done.canonical, done.target
    counted, how = _token_counts(done)
    tools = len(canonical.tools)
    chunks = []
    for row in canonical.chunks():
        place = (canonical.tool_order or range(tools)).index(row.index) if row.kind == "tool" else tools + row.index
        chunks.append(
            {
                "kind": row.kind,
                "index": row.index,
                "role": row.reading.role,
                "name": row.reading.name,
                "stability": row.stability,
                "tokens": counted[place],
                "prefix_digest": row.reading.prefix_digest.hex(),
                "answer_digest": row.reading.answer_digest.hex(),
                "prefix_link": done.chain[place].hex(),
                "client_marks": len(row.reading.marks),
                "volatile": list(row.reading.volatile),
                "starts": _preview(done.envelope, row.kind, row.index),
            }
        )
    return {
        "model": {"asked": done.params.model, "vendor": target.model.vendor, "name": target.model.name, "cache": target.model.cache.style},
        "tokens": {"input": sum(counted), "counted_by": how},
        "chunks": chunks,
        "edits": _edit_rows(done),
        "dropped": list(done.dropped),
        "plan": [
            {
                "after": ("tool " if mark.section == "a_tools" else "message ") + str(mark.index),
                "part": "last" if mark.part < 0 else mark.part,
                "lifetime_s": mark.lifetime_s or "default",
                "by": mark.origin,
                "prefix_tokens": sum(counted[: (0 if mark.section == "a_tools" else tools) + mark.index + 1]),
            }
            for mark in done.plan.breakpoints
        ],
        "identities": {
            "answer": done.identity.hex(),
            "prefix": done.chain[-1].hex() if done.chain else "",
            "note": "prefix links and affinity keys here are seeded with a constant; a deployment uses its own secret",
        },
        "cost": _costs(done, counted, settings, catalog),
        "outbound_body": done.body.decode("utf-8", "replace"),
    }


def _token_counts(done: Explained) -> tuple[list[int], str]:
    """Tokens of each tool and message in sending order: by tiktoken where it and its vocabulary are at hand, else estimated."""
    readings = (*done.canonical.tools, *done.canonical.messages)
    vocabulary = Path(os.environ.get("TIKTOKEN_CACHE_DIR") or ".") / _O200K_FILE
    if not vocabulary.is_file() or importlib.util.find_spec("tiktoken") is None:
        return [reading.tokens for reading in readings], "estimate: bytes / 4"
    import tiktoken

    encoding = tiktoken.get_encoding("o200k_base")
    order = done.canonical.tool_order or range(len(done.envelope.tools))
    slices = [bytes(done.envelope.tools[i]) for i in order] + [bytes(raw) for raw in (*done.envelope.system, *done.envelope.messages)]
    return [len(encoding.encode(raw.decode(), disallowed_special=())) for raw in slices], "tiktoken o200k_base over the JSON"


def _edit_rows(done: Explained) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    order = done.canonical.tool_order
    for edit in EDITS:
        row: dict[str, object] = {"id": edit.id, "made": edit.id in done.edits}
        if edit.id == TOOLS_ORDER and order is not None:
            names = [reading.name for reading in done.canonical.tools]
            row["after"] = names
            row["before"] = [names[order.index(i)] for i in range(len(order))]
        elif edit.id in done.edits:
            row["before"], row["after"] = len(done.envelope.body), len(done.body)
            row["unit"] = "bytes of the whole body"
        rows.append(row)
    return rows


def _costs(done: Explained, counted: list[int], settings: Settings, catalog: Catalog) -> dict[str, object]:
    """Input cost without a prompt cache, with it cold (what is marked is written), and warm (what was marked is read)."""
    target = done.target
    schedule = book_in_force(settings, catalog).schedule(target.model.vendor, target.model.name)
    if schedule is None:
        return {"note": "no price is known for this model; requests for it are refused"}
    price, total = schedule.at(time.time_ns()), sum(counted)
    style, tools = target.model.cache.style, len(done.canonical.tools)
    if style == "automatic":
        cacheable = total if total >= target.model.cache.min_tokens else 0
        written = 0
    else:
        ends = [(0 if mark.section == "a_tools" else tools) + mark.index + 1 for mark in done.plan.breakpoints]
        cacheable = written = max((sum(counted[:end]) for end in ends), default=0)
    return {
        "uncached_usd": format_usd(cost(Usage(fresh_input=total), price)),
        "first_time_usd": format_usd(cost(Usage(fresh_input=total - written, cache_write=written), price)),
        "again_usd": format_usd(cost(Usage(fresh_input=total - cacheable, cache_read=cacheable), price)),
        "note": "input only, by the token counts above",
    }


def _preview(envelope: Envelope, kind: str, index: int) -> str:
    raw = bytes((envelope.tools if kind == "tool" else (*envelope.system, *envelope.messages))[index])
    text = raw.decode("utf-8", "replace")
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"


def _print(done: Explained, report: dict[str, object]) -> None:
    console = Console()
    target = done.target.model
    console.rule(f"[bold]{escape(done.params.model)}[/] → {escape(f'{target.vendor}/{target.name}')} (prompt cache: {target.cache.style})")
    table = Table("block", "#", "who", "stability", "tokens", "digest", "starts with", title="Chunks: System → Tool → History → Query")
    for row in report["chunks"]:  # type: ignore[attr-defined]
        who = row["name"] or row["role"]
        table.add_row(
            row["kind"], str(row["index"]), escape(who), row["stability"], str(row["tokens"]), row["prefix_digest"][:12], escape(row["starts"])
        )
    console.print(table)
    tokens = report["tokens"]
    console.print(f"input tokens: {tokens['input']} ({tokens['counted_by']})")  # type: ignore[index]
    edits = Table("edit", "made", "before", "after", title="Edits")
    for row in report["edits"]:  # type: ignore[attr-defined]
        unit = f" {row['unit']}" if "unit" in row else ""
        edits.add_row(row["id"], "yes" if row["made"] else "-", escape(f"{row.get('before', '')}{unit}"), escape(f"{row.get('after', '')}{unit}"))
    console.print(edits)
    if done.dropped:
        console.print(f"[yellow]dropped[/]: {escape(', '.join(done.dropped))}")
    plan = Table("mark after", "part", "lifetime", "by", "prefix tokens", title="Cache plan")
    for row in report["plan"]:  # type: ignore[attr-defined]
        plan.add_row(row["after"], str(row["part"]), str(row["lifetime_s"]), row["by"], str(row["prefix_tokens"]))
    console.print(plan if done.plan.breakpoints else "Cache plan: no marks")
    identities = report["identities"]
    console.print(f"answer identity {identities['answer']}\nprefix identity {identities['prefix']}")  # type: ignore[index]
    costs = report["cost"]
    if "uncached_usd" in costs:  # type: ignore[operator]
        console.print(
            f"input cost, USD: without a cache {costs['uncached_usd']}, the first time {costs['first_time_usd']}, again {costs['again_usd']}"  # type: ignore[index]
        )
    else:
        console.print(costs["note"])  # type: ignore[index]
    console.rule("outbound body")
    shown = msgspec.json.format(msgspec.json.encode(_shortened(msgspec.json.decode(done.body)))).decode()
    console.print(Syntax(shown, "json", word_wrap=True))


def _shortened(value: object) -> object:
    """The same for the eye: long texts cut (`--json` has them whole)."""
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{value[:_LONGEST_SHOWN]}… ({len(value)} characters)"
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return {name: _shortened(item) for name, item in value.items()} if isinstance(value, dict) else value
