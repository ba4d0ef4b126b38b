"""Gateways under load that somebody will kill: `python kill_child.py`, told on its standard input what to start, one JSON object a line.

    {"name": "w3", "environ": {...}, "key": "sk-tr-...", "asking": 4, "calls": 0}

Each is forked from this process, which has imported everything and started nothing, and says its pid once calls are under way. It asks
itself, without a network in between, until it is killed, or until `calls` calls are answered; the providers are another process.
"""

import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

from tokenrouter.api.app import App
from tokenrouter.settings import load_settings

WORDS = ("Answer in 3 words.", "Answer in 40 words.", "Answer in 200 words.")


async def ask(app: App, key: str, label: str, chance: random.Random) -> None:
    """One call, named by its label, a stream or not."""
    stream, never = chance.random() < 0.5, asyncio.Event()
    content = f"[{label}] {chance.choice(WORDS)}"
    body = json.dumps({"model": "gpt-4.1", "max_tokens": 400, "stream": stream, "messages": [{"role": "user", "content": content}]})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "x-tokenrouter-call": label}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    parts = [body.encode()]

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] not in (200, 429, 503):
            print(f"status {message['status']}", file=sys.stderr, flush=True)

    await app(scope, receive, send)


async def main(told: dict[str, Any]) -> None:
    chance = random.Random(told["name"])
    app = App(load_settings(told["environ"]))
    done = 0

    async def asking(number: int) -> None:
        nonlocal done
        for count in range(told["calls"] or 1_000_000):
            await ask(app, told["key"], f"{told['name']}.{number}.{count}", chance)
            done += 1
            if done == 1:
                print(os.getpid(), flush=True)
            await asyncio.sleep(chance.random() * 0.04)

    async with app.lifespan():
        if told["asking"]:
            await asyncio.gather(*(asking(number) for number in range(told["asking"])))
        else:
            print(os.getpid(), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asyncio.run(main(json.loads(line)))
            os._exit(0)
