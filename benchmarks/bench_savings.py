"""What does the gateway save? The same agent conversation against the simulated Anthropic: called directly, and through the gateway.

Dollars are the simulator's own bill, which follows the vendor's published cache rules and prices; it shares no code with the gateway.
"""

import argparse
import asyncio
import json
import random
import tempfile
from typing import Any

import httpx

from tokenrouter.api.app import App
from tokenrouter.model.directory import KeyOptions
from tokenrouter.sandbox import SandboxApp
from tokenrouter.settings import load_settings
from tokenrouter.upstream.asgi_transport import AsgiTransport

_SYSTEM = "You are the support agent of a bookshop. " + "Be brief, be kind, and look things up before you promise anything. " * 90
_TOOLS = ("find_book", "check_stock", "order_status", "refund", "list_branches", "recommend")


def tool(name: str) -> dict[str, Any]:
    """One tool definition of ordinary size."""
    properties = {
        word: {"type": "string", "description": f"The {word} that the customer named, word for word."} for word in ("title", "author", "order")
    }
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name.replace('_', ' ').capitalize()} for a customer of the shop. Call it whenever facts are needed.",
            "parameters": {"type": "object", "properties": properties, "required": ["title"]},
        },
    }


def conversation(turns: int, *, shuffled: bool, seed: int) -> list[dict[str, Any]]:
    """Requests of one conversation; each extends the one before. `shuffled`: tools come in another order every time."""
    chance = random.Random(seed)
    messages: list[dict[str, Any]] = [{"role": "system", "content": _SYSTEM}]
    requests = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Customer {seed}, question {turn}: " + "do you have it, and where? " * 12})
        tools = [tool(name) for name in _TOOLS]
        if shuffled:
            chance.shuffle(tools)
        requests.append({"model": "claude-opus-4-8", "max_tokens": 64, "tools": tools, "messages": [*messages]})
        messages.append({"role": "assistant", "content": f"Answer {turn}. " + "It is on the second shelf. " * 8})
    return requests


async def through_gateway(conversations: list[list[dict[str, Any]]], *, edits: bool) -> int:
    """The bill in nano-USD."""
    with tempfile.TemporaryDirectory() as folder:
        app = App(load_settings({"DATA_DIR": folder, "SANDBOX": "1"}))
        async with app.lifespan():
            gateway = app.gateway
            assert gateway is not None
            transport = gateway.services.sandbox_transport
            assert isinstance(transport, AsgiTransport)
            sandbox = transport.app
            assert isinstance(sandbox, SandboxApp)
            off = KeyOptions(edits_off=() if edits else ("tools.order", "marks.plan", "content.parts"))
            key, _ = await gateway.keys.create(tenant="bench", options=off)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
                for turn in zip(*conversations, strict=True):
                    for body in turn:
                        answer = await client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
                        answer.raise_for_status()
            return sum(line.nano_usd for line in sandbox.bill.lines)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--conversations", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for shuffled in (False, True):
        work = [conversation(arguments.turns, shuffled=shuffled, seed=seed) for seed in range(arguments.conversations)]
        plain, better = (asyncio.run(through_gateway(work, edits=edits)) for edits in (False, True))
        rows.append({"tools": "shuffled each turn" if shuffled else "in one order", "without_usd": plain / 1e9, "with_usd": better / 1e9})
    if arguments.json:
        print(json.dumps(rows))
        return 0
    print(f"{arguments.conversations} conversations of {arguments.turns} turns, claude-opus-4-8, the simulator's own bill\n")
    for row in rows:
        ratio = row["with_usd"] / row["without_usd"]
        print(f"tools {row['tools']:18}  without edits ${row['without_usd']:.4f}  with ${row['with_usd']:.4f}  ratio {ratio:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
