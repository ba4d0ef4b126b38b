"""Secrets that nobody else would write, and every place where one of them could turn up."""

import base64
import json
import secrets
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import redis
from psycopg import sql
from served import Process

_PIECE = 12  # characters: a third of a canary that is shown tells who looks for it
_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


def canary() -> str:
    """Letters and digits only, so that no quoting changes it."""
    return "".join(secrets.choice("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789") for _ in range(36))


class Places:
    """What was found where. A place is `kind: name`; what holds several things keeps their names, so that a leak can be found again."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, bytes]] = []

    def add(self, place: str, text: str | bytes) -> None:
        self.texts.append((place, text.encode() if isinstance(text, str) else text))

    def kinds(self) -> set[str]:
        """First words of all places that were looked at and hold something."""
        return {place.partition(":")[0] for place, text in self.texts if text}

    def leaks(self, canaries: Mapping[str, str], allowed: Callable[[str, str], bool]) -> list[tuple[str, str]]:
        """(Name of the canary, place) of every leak. `allowed(name, place)`: where it may be."""
        found = {(name, place) for name, value in canaries.items() for place, text in self.texts if _holds(text, value)}
        return sorted(each for each in found if not allowed(*each))

    def holds(self, value: str, place: str) -> bool:
        """Whether any place whose name begins so holds a canary: for what must be there."""
        return any(_holds(text, value) for name, text in self.texts if name.startswith(place))


def _holds(text: bytes, value: str) -> bool:
    """Whether a third of it is there; as it is, in hexadecimal, or in base64 at any offset."""
    return any(form in text for form in _forms(value))


def _forms(value: str) -> Iterator[bytes]:
    for start in range(0, len(value) - _PIECE + 1, _PIECE // 2):
        piece = value[start : start + _PIECE].encode()
        yield piece
        yield piece.hex().encode()
        yield piece.hex().upper().encode()
        for offset in range(3):
            first = -offset % 3
            cut = piece[first : first + (len(piece) - first) // 3 * 3]
            yield base64.b64encode(cut)


def look_at_redis(places: Places, client: redis.Redis) -> None:
    """Every key with all that it holds. The place is the key's family: what follows the tenant, as far as the next colon."""
    for key in client.scan_iter(count=1_000):
        places.add(f"redis: {family(key)}", key + b"\n" + repr(_value(client, key)).encode())


def family(key: bytes) -> str:
    """What kind of key it is.

    >>> family(b"tr:{acme}:a:00ff"), family(b"tr:{acme}:ledger"), family(b"tr:who:key:1")
    ('a', 'ledger', 'who')
    """
    words = key.decode("utf-8", "replace").split(":")
    return words[2] if words[1].startswith("{") else words[1]


def _value(client: redis.Redis, key: bytes) -> object:
    read: dict[bytes, Callable[[], object]] = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"set": lambda: client.smembers(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"stream": lambda: (client.xrange(key), client.xinfo_groups(key)),
        b"none": lambda: b"",
    }
    return read[bytes(client.type(key))]()


@contextmanager
def overheard(places: Places, client: redis.Redis) -> Iterator[None]:
    """Every command that Redis is told meanwhile: what is there for a moment only is seen, too."""
    lines: list[str] = []
    last = f"ECHO {uuid4().hex}"
    with client.monitor() as monitor:

        def listen() -> None:
            for told in monitor.listen():
                if told["command"] == last:
                    return
                lines.append(str(told["command"]))

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        try:
            yield
        finally:
            client.echo(last.partition(" ")[2])
            listening.join(10)
            assert not listening.is_alive()
            for line in lines:
                command, _, rest = line.partition(" ")
                stream = f" {family(rest.partition(' ')[0].encode())}" if command == "XADD" else ""
                places.add(f"redis command: {command}{stream}", line)


def look_at_postgres(places: Places, url: str) -> None:
    """Every row of every table as text, and what the server shows of its clients."""
    with psycopg.connect(url) as connection:
        for schema, table in connection.execute(_TABLES).fetchall():
            rows = connection.execute(sql.SQL("SELECT t.*::text FROM {} t").format(sql.Identifier(schema, table))).fetchall()
            raw = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))).fetchall()
            places.add(f"postgres: {table}", "\n".join(row[0] for row in rows) + repr(raw))
        seen = connection.execute("SELECT application_name, query FROM pg_stat_activity WHERE datname = current_database()").fetchall()
        places.add("postgres clients: activity", repr(seen))


def look_at_files(places: Places, folder: Path) -> None:
    """Every file with its name; SQLite's also by the values of their rows."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder)
            places.add(f"file: {name}", str(name).encode() + path.read_bytes())
            if path.suffix == ".db":
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                        places.add(f"sqlite: {path.stem}.{table}", repr(database.execute(f'SELECT * FROM "{table}"').fetchall()))


def look_at_processes(places: Places, process: Process) -> None:
    """What anybody on the machine sees of the processes."""
    for pid in (process.process.pid, *process.children()):
        for what in ("cmdline", "comm"):
            try:
                places.add(f"process: {what}", Path(f"/proc/{pid}/{what}").read_bytes())
            except OSError:
                continue


def ask(places: Places, place: str, url: str, body: Any = None, *, method: str = "", **headers: str) -> tuple[int, bytes]:
    """One call, its answer's status line, headers and body noted."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, sent, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, told, raw = response.status, str(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, told, raw = error.code, str(error.headers), error.read()
    except OSError as error:
        status, told, raw = 0, str(error), b""
    places.add(f"response: {place} {status}", told.encode() + raw)
    return status, raw


@contextmanager
def webhook(answers: Iterable[int]) -> Iterator[tuple[str, list[bytes]]]:
    """A place that alerts are told to: its address, and what it was told (headers and body). It gives these answers, then 204."""
    left, told = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(str(self.headers).encode() + self.rfile.read(int(self.headers["content-length"])))
            self.send_response(left.pop(0) if left else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def password_for(url: str, password: str) -> Iterator[str]:
    """The database's address with a role whose password the server really asks for."""
    known = psycopg.conninfo.conninfo_to_dict(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE canary LOGIN SUPERUSER PASSWORD {}").format(sql.Literal(password)))
        (place,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        file = Path(place)
        before = file.read_text()
        file.write_text("local all canary scram-sha-256\nhost all canary all scram-sha-256\n" + before)
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield f"postgresql://canary:{password}@/{known['dbname']}?host={known['host']}" + (f"&port={known['port']}" if "port" in known else "")
    finally:
        file.write_text(before)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'canary'")
            connection.execute("DROP OWNED BY canary")
            connection.execute("DROP ROLE canary")
