"""Secrets of every kind go in, at a gateway in good and in bad days; then every place is searched where one of them could have stayed."""

import base64
import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from backends import PostgresServer
from canaries import (
    Places,
    ask,
    canary,
    look_at_files,
    look_at_postgres,
    look_at_processes,
    look_at_redis,
    overheard,
    password_for,
    webhook,
)
from redis_servers import RedisServer
from served import Process, Sandbox, fetch, free_port, wait_for

CHAT, MESSAGES, RESPONSES, GEMINI = "/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1beta/models/gemini-2.5-flash:generateContent"
EVER = "from=1970-01-01&to=2040-01-01"
PROVIDERS = ("openai", "anthropic", "gemini", "deepseek", "xai", "azure", "myhost", "google", "aws")
SECRETS = (
    *("admin", "wrong-admin", "wrong-secret", "foreign-key", "query-key", "webhook-secret", "webhook-path", "redis-password", "postgres-password"),
    *("prices-password", "base-password", *PROVIDERS),
)
"""What opens something: nowhere at all."""
WORDS = ("prompt", "system", "arguments", "result", "schema", "end-user", "idempotency", "metadata", "field")
"""What callers write. Kept answers hold what a model said, never what it was asked."""
NAMES = ("customer", "label")
"""What callers write so that it is found again: in the ledger, in names of counters, in what the admin API says. Not in logs or metrics."""
CONFIG = """
[providers.myhost]
base_url = "{sandbox}/openai/v1"
key_env = "MYHOST_CREDENTIAL"
auth = "api-key"
models = ["gpt-4.1"]

[prices."myhost/gpt-4.1"]
input = "2"
output = "8"
"""


def allowed(name: str, place: str) -> bool:
    """Where a canary may be, by the documentation."""
    kind, _, where = place.partition(": ")
    kept = place in ("redis: a", "redis command: SET", "postgres: answers", "sqlite: answers.kept") or where.startswith("data/answers.db")
    if name in ("arguments", "schema", "system") and place in ("redis: lessons", "redis command: XADD lessons"):
        return True  # first forms of tools, calls and system texts, which workers tell each other
    match name:
        case "answer":
            return kept or place == "redis: i" or kind == "response"
        case "system" | "end-user" | "metadata":  # the Responses API repeats them in its answers, and so do those that are kept
            return kept or where.startswith("responses ")
        case "field":  # its sender is told which of the words that it wrote nobody understands
            return where.startswith(("bad ", "previous ")) or place == "redis command: GET"  # and whether another worker knows such an id
        case "customer" | "label":
            return kind in ("redis", "redis command", "postgres", "sqlite", "file", "webhook") or (kind == "response" and where.startswith("/admin/"))
        case "deployment":
            return place in ("postgres: meta", "file: data/shared-secret", "file: data/secret")
        case "first-key":
            return place == "file: data/first-keys.txt"
    return name.startswith("minted") and where.startswith("minted ")


class Drive:
    """One gateway, what is told to it, and what is found."""

    def __init__(self, folder: Path, sandbox: Sandbox, **environ: str) -> None:
        self.folder, self.sandbox, self.places = folder, sandbox, Places()
        self.canaries = {name: canary() for name in (*SECRETS, *WORDS, *NAMES, "answer")}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {**self._providers(), "PORT": str(self.port), "DATA_DIR": "data", "LOG_LEVEL": "debug", "ADMIN_API_KEY": self["admin"]}
        self.environ |= {"BODY_LIMIT_MB": "1", "UPSTREAM_IDLE_TIMEOUT_S": "1", "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "2", **environ}
        (folder / "tokenrouter.toml").write_text(CONFIG.format(sandbox=sandbox.url))
        self.key = ""
        self.process: Process | None = None

    def __getitem__(self, name: str) -> str:
        return self.canaries[name]

    def _providers(self) -> dict[str, str]:
        """Every way in which a host is shown who asks, each with a credential of its own."""
        at = self.sandbox.url
        return {
            **self.sandbox.environ,
            "OPENAI_API_KEY": f"sk-{self['openai']}",
            "ANTHROPIC_API_KEY": f"sk-ant-{self['anthropic']}",
            "GEMINI_API_KEY": self["gemini"],
            "DEEPSEEK_API_KEY": self["deepseek"],
            "OLLAMA_URL": f"{at}/ollama".replace("//", f"//user:{self['base-password']}@", 1),
            "XAI_API_KEY": self["xai"],
            "XAI_BASE_URL": "http://127.0.0.1:9/v1",
            "AZURE_OPENAI_API_KEY": self["azure"],
            "AZURE_OPENAI_ENDPOINT": at,
            "AZURE_BASE_URL": f"{at}/openai/v1",
            "MYHOST_CREDENTIAL": self["myhost"],
            "VERTEX_ACCESS_TOKEN": self["google"],
            "AWS_BEARER_TOKEN_BEDROCK": "",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": self["aws"],
            "AWS_REGION": "eu-west-1",
            "PRICES_REFRESH_URL": f"http://user:{self['prices-password']}@127.0.0.1:9/models?key={self['prices-password']}",
        }

    def start(self) -> None:
        """Start it, and make a key that is shown once."""
        self.process = Process(self.folder, "serve", **self.environ)
        wait_for(self._ready, within_s=60, what="readiness")
        warning = {"scope": {"customer": "*"}, "amount_usd": "0.000001", "action": "warn"}
        assert self.admin("/admin/caps", "/admin/tenants/default/caps", warning)[0] == 201
        self.key = self.minted("/admin/api-keys", {"name": "n"})["key"]

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.process.poll() is None, self.process.err
        try:
            return fetch(self.url + "/readyz")[0] == 200
        except OSError:
            return False

    def ask(self, place: str, path: str, body: Any = None, *, key: str | None = None, method: str = "", **headers: str) -> tuple[int, Any]:
        """One call by a client."""
        shown = {"Authorization": f"Bearer {self.key if key is None else key}"} if key != "" else {}
        status, raw = ask(self.places, place, self.url + path, body, method=method, **shown, **headers)
        with contextlib.suppress(ValueError):
            return status, json.loads(raw)
        return status, raw

    def admin(self, place: str, path: str, body: Any = None, *, method: str = "", **headers: str) -> tuple[int, Any]:
        """One call of the admin API."""
        return self.ask(place, path, body, key=self["admin"], method=method, **headers)

    def minted(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """An answer of the admin API with a key in it, which is a canary from here on."""
        status, made = self.admin("minted", path, body, **headers)
        assert status in (200, 201), made
        if made["key"]:
            self.canaries[f"minted {len(self.canaries)}"] = made["key"].split("-", 3)[3]
        return dict(made)

    def chat(self, text: str = "Answer in 20 words.", model: str = "openai/gpt-4.1", **more: Any) -> dict[str, Any]:
        """A question that is full of what nobody else should read."""
        call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"for": self["arguments"]})}}
        return {
            "model": model,
            "max_tokens": 60,
            "messages": [
                {"role": "system", "content": f"You know {self['system']}."},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": self["result"]},
                {"role": "user", "content": f"{self['prompt']} {text}"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "description": self["schema"], "parameters": {"type": "object"}}}],
            "user": self["end-user"],
            **more,
        }

    @property
    def said(self) -> str:
        """What it wrote so far."""
        assert self.process is not None
        return self.process.out + self.process.err

    def stop(self) -> None:
        """End it, and look at what it said."""
        if self.process is not None:
            self.process.stop()

    def close(self) -> None:
        """Look at what is there when it has ended."""
        assert self.process is not None
        assert self.process.stop() == 0
        self.places.add("output: stdout", self.process.out)
        self.places.add("output: stderr", self.process.err)
        look_at_files(self.places, self.folder)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Drive]]:
    """Makes one that is ended with the test."""
    made: list[Drive] = []
    sandbox = Sandbox(tmp_path / "sandbox")

    def make(**environ: str) -> Drive:
        folder = tmp_path / "gateway"
        folder.mkdir()
        made.append(Drive(folder, sandbox, **environ))
        return made[-1]

    yield make
    for each in made:
        each.stop()
    sandbox.stop()


def good_calls(drive: Drive) -> set[int]:
    """Every dialect, every way to show a credential, whole and in a stream."""
    statuses = set()
    say = partial(drive.sandbox.control, "script")
    say({"text": f"It says {drive['answer']}."})
    kept = drive.chat(temperature=0)
    for place in ("miss", "hit"):
        statuses.add(drive.ask(place, CHAT, kept)[0])
    named = {"X_Customer_ID": drive["customer"], "X_TokenRouter_Team": drive["label"], "X_TokenRouter_Metadata": json.dumps({"a": drive["label"]})}
    models = ["anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash", "vertex/gemini-2.5-flash", "azure/gpt-4.1", "myhost/gpt-4.1"]
    models += ["bedrock/us.anthropic.claude-opus-4-6-v1:0", "deepseek/deepseek-reasoner", "xai/grok-4"]
    plain = [{"role": "user", "content": drive["prompt"]}]
    for stream in (False, True):
        statuses.add(drive.ask("chat", CHAT, drive.chat(stream=stream), Idempotency_Key=drive["idempotency"] + str(stream), **named)[0])
        for model in models:
            statuses.add(drive.ask(f"chat {model}", CHAT, drive.chat(model=model, stream=stream, tools=[], messages=plain))[0])
        said = {"model": "claude-haiku-4-5", "max_tokens": 40, "system": drive["system"], "metadata": {"user_id": drive["end-user"]}}
        headers = {"x_api_key": drive.key, "anthropic_version": "2023-06-01"}
        statuses.add(drive.ask("messages", MESSAGES, {**said, "messages": plain, "stream": stream}, key="", **headers)[0])
        for model in ("gpt-4.1", "claude-haiku-4-5"):
            say({"text": f"It says {drive['answer']}."})
            said = {"model": model, "input": drive["prompt"], "instructions": drive["system"], "user": drive["end-user"], "stream": stream}
            said |= {"metadata": {"a": drive["metadata"]}, "temperature": 0} if model == "gpt-4.1" else {}
            statuses.add(drive.ask(f"responses {model}", RESPONSES, said)[0])
    contents: list[Any] = [{"role": "user", "parts": [{"text": drive["prompt"]}]}]
    statuses.add(drive.ask("gemini", f"{GEMINI}?key={drive.key}", {"contents": contents}, key="")[0])
    embedded = {"model": "text-embedding-3-small", "input": drive["prompt"], "user": drive["end-user"]}
    statuses.add(drive.ask("embeddings", "/v1/embeddings", embedded)[0])
    statuses.add(drive.ask("neutral", "/v1/chat", {"model": "gpt-4.1", "messages": plain})[0])
    statuses.add(drive.ask("ollama", "/api/chat", {"model": "gpt-4.1", "messages": plain, "stream": False})[0])
    statuses.add(drive.ask("models", "/v1/models")[0])
    return statuses


def refusals(drive: Drive) -> set[int]:
    """What callers do wrong."""
    statuses = set()
    for wrong in (f"sk-tr-{drive.key.split('-')[2]}-{drive['wrong-secret']}", f"sk-tr-{drive['wrong-secret']}", f"sk-proj-{drive['foreign-key']}"):
        statuses.add(drive.ask("wrong key", CHAT, drive.chat(), key=wrong)[0])
        statuses.add(drive.ask("wrong key", MESSAGES, drive.chat(), key="", x_api_key=wrong, anthropic_version="2023-06-01")[0])
        statuses.add(drive.ask("wrong key", f"{GEMINI}?key={wrong}", {}, key="")[0])
        statuses.add(drive.ask("wrong key", "/admin/api-keys", key=wrong)[0])
    statuses.add(drive.ask("wrong key", f"/v1/nothing?key={drive['query-key']}", key="")[0])
    statuses.add(drive.ask("wrong key", f"/v1beta/models?key={drive['query-key']}", key="")[0])
    bad = (
        json.dumps(drive.chat()).encode()[:-2],
        json.dumps(drive.chat()).replace('"max_tokens"', '"model": 1, "max_tokens"').encode(),
        b'"' + drive["prompt"].encode() + b'"',
        drive["prompt"].encode(),
        drive.chat(temperature=drive["field"]),
        drive.chat(messages=[{"role": drive["field"], "content": drive["prompt"]}]),
        drive.chat(messages=drive["prompt"]),
        drive.chat(messages=[{"role": "user", "content": [{"type": drive["field"], "text": drive["prompt"]}]}]),
        drive.chat(max_tokens="-" + drive["field"]),
        drive.chat(messages=[]),
        drive.chat(model="no-such-model"),
        drive.chat(model="anthropic/claude-haiku-4-5", logit_bias={"1": 5}, logprobs=True),
        drive.chat(response_format={"type": drive["field"]}),
        drive.chat(tool_choice=drive["field"]),
        drive.chat(text="x" * (1 << 20)),
        drive.chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": drive["field"]}}]}]),
    )
    for number, body in enumerate(bad):
        statuses.add(drive.ask(f"bad {number}", CHAT, body)[0])
        statuses.add(drive.ask(f"bad {number}", MESSAGES, body, anthropic_version="2023-06-01")[0])
        statuses.add(drive.ask(f"bad {number}", RESPONSES, body)[0])
        statuses.add(drive.ask(f"bad {number}", "/v1/chat", body)[0])
        statuses.add(drive.ask(f"bad {number}", GEMINI, body)[0])
    for text in ("one", "two"):
        statuses.add(drive.ask("idempotency", CHAT, drive.chat(text), Idempotency_Key=drive["idempotency"])[0])
    statuses.add(drive.ask("method", CHAT, method="PUT")[0])
    statuses.add(drive.ask("previous", RESPONSES, {"model": "gpt-4.1", "input": "x", "previous_response_id": "resp_" + drive["field"]})[0])
    for rule, asked in (({"quota_usd": "0.000001"}, 1), ({"requests_per_minute": 1}, 2)):
        made = drive.minted("/admin/api-keys", rule)
        for _ in range(asked):
            statuses.add(drive.ask("limited", CHAT, drive.chat(), key=made["key"])[0])
    assert drive.admin("tenant", "/admin/tenants", {"name": "poor"})[0] == 201
    assert drive.admin("cap", "/admin/tenants/poor/caps", {"amount_usd": "0.000001", "period": "total"})[0] == 201
    made = drive.minted("/admin/api-keys", {"tenant": "poor"})
    statuses.add(drive.ask("capped", CHAT, drive.chat(), key=made["key"], X_Customer_ID=drive["customer"])[0])
    return statuses


def faults(drive: Drive) -> set[int]:
    """What providers do wrong. One repeats in its error the credential that it was shown."""
    statuses = set()
    shown = f"Incorrect API key provided: sk-{drive['openai']}"
    troubles = [{"kind": "status", "status": status, "message": shown} for status in (400, 401, 403, 404, 429, 500, 503)]
    troubles += [{"kind": kind, "message": shown} for kind in ("error_event", "error_body")]
    troubles += [{"kind": kind} for kind in ("truncate", "truncate_bytes", "bad_utf8", "bad_json", "html", "empty", "no_usage", "long_line")]
    for trouble in troubles:
        for stream in (False, True):
            drive.sandbox.control("reset")
            drive.sandbox.control("faults", trouble)
            statuses.add(drive.ask(f"fault {trouble['kind']}", CHAT, drive.chat(stream=stream))[0])
    drive.sandbox.control("reset")
    drive.sandbox.control("faults", [{"kind": "stall_start", "seconds": 5}])
    statuses.add(drive.ask("fault stall", CHAT, drive.chat())[0])
    drive.sandbox.control("reset")
    return statuses


def administration(drive: Drive) -> set[int]:
    """Good and bad calls of the admin API, and by the wrong people."""
    statuses = set()
    for path in ("/admin/api-keys", "/admin/health", "/admin/audit", "/admin/nothing", "/metrics"):
        for place, wrong in (("wrong admin", drive["wrong-admin"]), ("client at admin", drive.key)):
            statuses.add(drive.ask(place, path, key=wrong)[0])
    for path in (
        "tenants",
        "api-keys",
        "tenants/default/customers",
        "tenants/default/limits",
        "tenants/default/caps",
        "prices",
        "audit",
        "health",
        "cache",
    ):
        statuses.add(drive.admin(f"/admin/{path}", f"/admin/{path}")[0])
    for path in (f"usage?{EVER}&by=key&by=customer&by=model", f"usage?{EVER}&by=label:team", f"ledger?{EVER}", "openapi.json"):
        statuses.add(drive.admin(f"/admin/{path}", f"/admin/{path}")[0])
    more = {"Idempotency_Key": drive["idempotency"], "X_Admin_Actor": "somebody"}
    made = drive.minted("/admin/api-keys", {"name": "again"}, **more)
    statuses.add(drive.admin("repeated", "/admin/api-keys", {"name": "again"}, **more)[0])
    statuses.add(drive.admin("twisted", "/admin/api-keys", {"name": "other"}, **more)[0])
    drive.minted(f"/admin/api-keys/{made['id']}/rotate", {})
    statuses.add(drive.admin("changed", f"/admin/api-keys/{made['id']}", {"disabled": True}, method="PATCH")[0])
    statuses.add(drive.admin("revoked", f"/admin/api-keys/{made['id']}", method="DELETE")[0])
    for body in ({"name": "n", "secret": drive["field"]}, {"quota_usd": drive["field"]}, drive["prompt"].encode(), [drive["field"]]):
        statuses.add(drive.admin("bad admin", "/admin/api-keys", body)[0])
    statuses.add(drive.admin("/admin/customers", "/admin/tenants/default/customers", {"id": drive["customer"]})[0])
    statuses.add(drive.admin("/admin/check", "/admin/check", {"key_id": made["id"], "model": "gpt-4.1", "customer": drive["customer"]})[0])
    for path in ("/metrics", "/readyz", "/healthz"):
        statuses.add(drive.admin(path.strip("/"), path)[0])
    return statuses


def away(drive: Drive, redis: RedisServer, postgres: PostgresServer, url: str) -> set[int]:
    """The stores fail one after the other, and together, while people go on asking."""
    statuses = set()

    def go_on(place: str) -> None:
        named = {"X_Customer_ID": drive["customer"], "X_TokenRouter_Team": drive["label"]}
        for number in range(6):
            statuses.add(drive.ask(place, CHAT, drive.chat(stream=number % 2 == 0), Idempotency_Key=drive["idempotency"] + place, **named)[0])
            statuses.add(drive.ask(place, CHAT, drive.chat(), key=f"sk-tr-{drive.key.split('-')[2]}-{drive['wrong-secret']}")[0])
        for path in ("/admin/api-keys", "/admin/health", "/admin/audit", "/readyz", "/healthz", "/metrics"):
            statuses.add(drive.admin(f"{path} {place}", path)[0])
        statuses.add(drive.admin(place, "/admin/api-keys", {}, Idempotency_Key=drive["idempotency"] + place)[0])

    tables = ("ledger", "answers", "intents", "customers", "admin_replies")
    with psycopg.connect(url, autocommit=True) as connection:  # rows that the database refuses, with all their values in what it says
        for table in tables:
            connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID".encode())
        drive.sandbox.control("script", {"text": f"It says {drive['answer']}."})
        drive.ask("broken", CHAT, drive.chat("broken", temperature=0))
        refused = drive.admin("/admin/broken", "/admin/tenants/default/customers", {"id": "another", "name": drive["customer"]})[0]
        assert refused == 500
        go_on("broken tables")
        wait_for(lambda: "is set aside in ledger_rejected" in drive.said, what="a complaint about the ledger")
        wait_for(lambda: "kept answers can not be written" in drive.said, what="a complaint about answers")
        redis.kill()
        go_on("broken tables without redis")
        for table in tables:
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT broken".encode())
    go_on("without redis")
    postgres.stop()
    go_on("without both")
    redis.start()
    go_on("without postgres")
    postgres.start()
    wait_for(lambda: fetch(drive.url + "/readyz")[1].get("status") != "degraded", within_s=60, what="the end of all trouble")
    go_on("afterwards")
    return statuses


@pytest.mark.slow
def test_no_canary_leaves_the_embedded_gateway(drive: Callable[..., Drive]):
    with webhook([500, 400]) as (hook, told):
        found = drive()
        found.environ |= {"ALERT_WEBHOOK_URL": f"{hook}/{found['webhook-path']}", "ALERT_WEBHOOK_SECRET": found["webhook-secret"]}
        found.start()
        statuses = good_calls(found) | refusals(found) | faults(found) | administration(found)
        look_at_processes(found.places, found.process)
        found.canaries["deployment"] = (found.folder / "data" / "secret").read_bytes().hex()
        found.close()
        for body in told:
            found.places.add("webhook: alert", body)
    judge(found, statuses)
    assert found.places.kinds() >= {"output", "file", "sqlite", "process", "response", "webhook"}


def test_no_canary_leaves_gateways_over_shared_stores(drive: Callable[..., Drive], postgres_server: PostgresServer, bare_postgres_url: str):
    found = drive(WORKERS="2", REDIS_TIMEOUT_MS="2000", DB_TIMEOUT_MS="5000")
    redis = RedisServer(password=found["redis-password"])
    try:
        with webhook([500, 400]) as (hook, told), password_for(bare_postgres_url, found["postgres-password"]) as database:
            found.environ |= {"REDIS_URL": redis.url, "DATABASE_URL": database}
            found.environ |= {"ALERT_WEBHOOK_URL": f"{hook}/{found['webhook-path']}", "ALERT_WEBHOOK_SECRET": found["webhook-secret"]}
            found.environ |= {"GLOBAL_CONCURRENT_LIMIT": "50", "GLOBAL_MONTHLY_USD_BUDGET": "500"}
            found.start()
            with overheard(found.places, redis.admin):
                statuses = good_calls(found) | refusals(found) | faults(found) | administration(found)
                look_at_processes(found.places, found.process)
                with redis.admin as admin:
                    look_at_redis(found.places, admin)
                look_at_postgres(found.places, bare_postgres_url)
            statuses |= away(found, redis, postgres_server, bare_postgres_url)
            with redis.admin as admin:
                look_at_redis(found.places, admin)
            found.canaries["deployment"] = (found.folder / "data" / "shared-secret").read_bytes().hex()
            found.close()
            look_at_postgres(found.places, bare_postgres_url)
            for body in told:
                found.places.add("webhook: alert", body)
    finally:
        redis.close()
    judge(found, statuses)
    assert found.places.kinds() >= {"output", "file", "process", "response", "webhook", "redis", "redis command", "postgres", "postgres clients"}
    assert found.places.holds(found["answer"], "redis: a")
    assert found.places.holds(found["answer"], "postgres: answers")
    assert found.places.holds(found["customer"], "postgres: ledger")


def judge(drive: Drive, statuses: set[int]) -> None:
    """Everything was tried, and nothing was found where it must not be."""
    assert statuses >= {200, 201, 400, 401, 402, 404, 405, 413, 422, 429, 502, 503, 504}
    assert drive.places.leaks(drive.canaries, allowed) == []
    assert drive.places.holds(drive["answer"], "response: hit 200")
    assert drive.places.holds(drive["label"], "response: /admin/usage")


COMMANDS: list[tuple[list[str], dict[str, str]]] = [
    (["config", "check"], {}),
    (["config", "check"], {"DATABASE_URL": "mysql://user:{0}@host/db", "REDIS_URL": "http://:{0}@host"}),
    (["config", "check"], {"DATABASE_URL": "postgresql://user:{0}@host/db"}),
    (["config", "check"], {"OLLAMA_URL": "user:{0}@host", "PRICES_REFRESH_URL": "ftp://host/models?key={0}", "ALERT_WEBHOOK_URL": "{0}"}),
    (["config", "check"], {"OPENAI_API_KEY": "sk-{0}", "OPENAI_BASE_URL": "https://user:{0}@host/v1"}),
    (["config", "check"], {"OLLAMA_URL": "http://user:{0}@127.0.0.1:9"}),
    (["serve"], {"DATABASE_URL": "postgresql://user:{0}@host:port/db", "REDIS_URL": "redis://:{0}@127.0.0.1:9"}),
    (["serve"], {"DATABASE_URL": "postgresql://user:{0}/x@127.0.0.1:9/db", "REDIS_URL": "redis://:{0}/x@127.0.0.1:9"}),
    (["serve"], {"DATABASE_URL": "postgresql://user:{0}#@127.0.0.1:9/db?a={0}", "REDIS_URL": "redis://:{0}#@127.0.0.1:9"}),
    (["serve"], {"DATABASE_URL": "postgresql://user:{0}@127.0.0.1:9/db", "REDIS_URL": "redis+cluster://:{0}@127.0.0.1:9/7"}),
    (["serve"], {"DATABASE_URL": "postgresql://user:{0}@127.0.0.1:9/db", "REDIS_URL": "redis://:{0}@127.0.0.1:x"}),
    (["migrate"], {"DATABASE_URL": "postgresql://user:{0}@127.0.0.1:9/db", "REDIS_URL": "redis://:{0}@127.0.0.1:9"}),
    (["keys", "list"], {"DATABASE_URL": "postgresql://user:{0}@127.0.0.1:9/db", "REDIS_URL": "redis://:{0}@127.0.0.1:9"}),
    (["keys", "list"], {"TOKENROUTER_URL": "http://127.0.0.1:9", "ADMIN_API_KEY": "{0}"}),
    (["usage"], {"TOKENROUTER_URL": "http://user:{0}@127.0.0.1:9", "ADMIN_API_KEY": "{0}"}),
    (["prices", "refresh"], {"PRICES_REFRESH_URL": "http://user:{0}@127.0.0.1:9/models?key={0}"}),
]


@pytest.mark.parametrize(
    ("command", "environ"), [*COMMANDS[3:6], *[pytest.param(*each, marks=pytest.mark.slow) for each in COMMANDS[:3] + COMMANDS[6:]]]
)
def test_no_command_says_a_secret(tmp_path: Path, command: list[str], environ: dict[str, str]):
    secret, places = canary(), Places()
    process = Process(tmp_path, *command, PORT=str(free_port()), DATA_DIR="data", **{name: said.format(secret) for name, said in environ.items()})
    try:
        status = process.ended(60)
    finally:
        process.stop()
    places.add("output: stdout", process.out)
    places.add("output: stderr", process.err)
    look_at_files(places, tmp_path)
    assert places.leaks({"secret": secret}, lambda _, __: False) == []
    assert "Traceback" not in process.out + process.err
    assert process.err or status == 0


def test_who_looks_for_canaries_finds_them_everywhere(tmp_path: Path, redis_server: RedisServer, bare_postgres_url: str):
    """Every way to leave one is tried, in part and in other clothes."""
    value, places = canary(), Places()
    redis_server.empty()
    with redis_server.admin as client:
        with overheard(places, redis_server.admin):
            client.set(f"gone:{value}", "x")
            client.delete(f"gone:{value}")
        client.set("tr:{t}:string", value)
        client.hset("tr:{t}:hash", "field", value[6:20])
        client.zadd("tr:{t}:zset", {value: 1})
        client.xadd("tr:{t}:stream", {value: "v"})
        client.rpush("tr:{t}:list", value.encode().hex())
        client.sadd("tr:{t}:set", base64.b64encode(b"x" + value.encode()))
        client.set(f"tr:{{t}}:name:{value}", "x")
        client.set("tr:{t}:clean", value[:11])
        look_at_redis(places, client)
    with psycopg.connect(bare_postgres_url, application_name=value, autocommit=True) as connection:
        for kind in ("text", "bytea", "jsonb", "text[]"):
            connection.execute(f'CREATE TABLE "{kind}" (v {kind})'.encode())
        connection.execute("INSERT INTO text VALUES (%s)", (value,))
        connection.execute("INSERT INTO bytea VALUES (%s)", (value.encode(),))
        connection.execute("INSERT INTO jsonb VALUES (%s)", (json.dumps({value: 1}),))
        connection.execute('INSERT INTO "text[]" VALUES (%s)', ([value],))
        look_at_postgres(places, bare_postgres_url)
    with contextlib.closing(sqlite3.connect(tmp_path / "some.db")) as database:
        database.execute("CREATE TABLE kept (v BLOB)")
        database.execute("INSERT INTO kept VALUES (?)", (value.encode(),))
        database.commit()
        (tmp_path / value).touch()
        (tmp_path / "log").write_text(f"…{value[20:]}…")
        look_at_files(places, tmp_path)
    look_at_processes(places, SimpleNamespace(process=SimpleNamespace(pid=os.getpid()), children=list))
    found = {place for _, place in places.leaks({"value": value}, lambda _, __: False)}
    wanted = {f"redis: {kind}" for kind in ("string", "hash", "zset", "stream", "list", "set", "name")} | {"redis command: SET", "redis command: DEL"}
    wanted |= {f"postgres: {kind}" for kind in ("text", "bytea", "jsonb", "text[]")} | {"postgres clients: activity"}
    assert found == wanted | {"file: some.db", "sqlite: some.kept", f"file: {value}", "file: log"}
