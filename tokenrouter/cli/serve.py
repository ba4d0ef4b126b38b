"""`tokenrouter serve`: look before anything is touched, bind, mint keys once, start the worker."""

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops
from granian.errors import ConfigurationError
from granian.log import LogLevels
from granian.server import Server

from tokenrouter.catalog.loader import Catalog, load_catalog
from tokenrouter.cli.directory import with_directory
from tokenrouter.errors import ConfigError, PortTaken, Unavailable
from tokenrouter.observe.capture import open_capture
from tokenrouter.settings import RECORD_KEY, Settings, load_settings
from tokenrouter.storage.directory import Directory
from tokenrouter.storage.embedded import lock_folder, open_folder
from tokenrouter.wiring import check_virtual_time, gate_limits, unpriced

_BACKLOG = 4096
_CONNECTIONS = 20_000  # granian counts idle ones too, and lets the rest hang without an answer
KILL_AFTER_S = 30
"""How long a worker may take to end."""
_KEYS_FILE = "first-keys.txt"
_VARIABLES = {"config": "TOKENROUTER_CONFIG", "record": "RECORD_FILE"}
"""Where an argument's name is not that of its setting."""


def serve(arguments: argparse.Namespace) -> int:
    """Run until told to stop.

    Raises:
        ConfigError, PortTaken: before anything was written.
    """
    for name in ("host", "port", "workers", "config", "virtual_time", "record", "record_text"):
        value = getattr(arguments, name)
        if value is not None:
            os.environ[_VARIABLES.get(name, name.upper())] = str(value)
    settings = load_settings(os.environ)
    check_workers(settings)
    if settings.database_url:
        check_stores(settings)
    catalog = load_catalog(settings)
    gate_limits(settings).check(catalog.vendors)
    check_virtual_time(settings, catalog)
    check_port(settings.host, settings.port)
    if settings.record_file is not None:
        os.close(open_capture(settings.record_file))
        os.environ[RECORD_KEY] = os.urandom(32).hex()  # of all workers, who write one file
    if settings.database_url:
        check_schema(settings)
    else:
        os.close(lock_folder_of(settings))
    for model in unpriced(settings):
        print(f'warning: no price is known for {model}; requests for it are refused (set [prices."{model}"])', file=sys.stderr)
    server = Server(
        "tokenrouter.cli.worker:create_app",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop if sys.platform != "win32" else Loops.auto,
        http=HTTPModes.auto,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_CONNECTIONS,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_AFTER_S,
        log_level=LogLevels.warning,
    )
    server.on_startup(lambda: _greet(settings, catalog, print_keys=arguments.print_keys))
    try:
        server.serve()
    except (ConfigurationError, OSError) as error:
        raise ConfigError(f"the server could not start: {error}") from error
    return 0


def check_workers(settings: Settings) -> None:
    """Refuse what the embedded stores can not do. Raises ConfigError."""
    if settings.workers > 1 and not settings.database_url and not settings.virtual_time:  # which has words of its own for it
        raise ConfigError(
            f"WORKERS={settings.workers}: the embedded stores belong to one process, so quotas would be counted {settings.workers} times; "
            "run one worker, or set REDIS_URL and DATABASE_URL, whose stores many processes share"
        )


def check_stores(settings: Settings) -> None:
    """See whether the addresses of the shared stores can be read, without asking them. Raises ConfigError."""
    try:
        from tokenrouter.storage.postgres import connection_parameters  # what they need is there in the shared mode only
        from tokenrouter.storage.redis_client import read_address
    except ImportError as error:
        raise ConfigError(f"DATABASE_URL is set, which needs more packages ({error}): pip install 'tokenrouter-gateway[shared]'") from error
    connection_parameters(settings.database_url.reveal())
    read_address(settings.redis_url.reveal())


def check_schema(settings: Settings) -> None:
    """See whether Postgres has the schema that this version needs; a database without any gets it.

    One that is away is met later, if a worker could start without it. Raises ConfigError.
    """
    from tokenrouter.storage.deployment import kept_secret
    from tokenrouter.storage.postgres_migrations import migrate, pending

    url = settings.database_url.reveal()
    try:
        missing, fresh = asyncio.run(pending(url))
        if missing and not fresh:
            raise ConfigError(f"the database lacks {', '.join(missing)}: run `tokenrouter migrate`, then start again")
        if missing:
            asyncio.run(migrate(url))
    except Unavailable as error:
        if kept_secret(settings.data_dir) is None:
            raise ConfigError(f"{error.message}, and {settings.data_dir} has no copy of the deployment's secret from an earlier start") from error
        print(f"warning: {error.message}; starting without it, with the keys that Redis has copies of", file=sys.stderr)


def check_port(host: str, port: int) -> None:
    """See whether the port is free. Raises PortTaken, ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise ConfigError(f"port {port} needs more rights than this user has; choose one above 1023: PORT=8080 make run") from error
        except OSError as error:
            if error.errno in (98, 48):
                raise PortTaken(f"port {port} is taken on {host}; choose another: PORT={port + 1} make run") from error
            raise ConfigError(f"HOST {host}: {error}") from error


def lock_folder_of(settings: Settings) -> int:
    """Claim the data folder for a moment: another gateway in it is found here, not in the worker. Raises ConfigError."""
    open_folder(settings.data_dir)
    return lock_folder(settings.data_dir)


def _greet(settings: Settings, catalog: Catalog, *, print_keys: bool) -> None:
    """Runs once the port is ours and before the worker starts: mint keys on first start, say what there is."""

    async def mint(directory: Directory) -> tuple[str | None, str | None]:
        first = not await directory.keys(most=1)
        client = (await directory.create(tenant="default", name="first", actor="first start"))[0] if first else None
        return client, None if settings.admin_api_key else await directory.mint_admin()

    try:
        client, admin = with_directory(settings, mint)
    except ConfigError:
        if not settings.database_url:
            raise
        client = admin = None  # it is away, so nobody can say whether there are keys
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else f"[{settings.host}]" if ":" in settings.host else settings.host  # noqa: S104
    base = f"http://{host}:{settings.port}"
    simulated = any(row[0].sandbox for row in catalog.deployments.values())
    lines = [f"TokenRouter starts on {base} (/readyz answers once it is there)"]
    if simulated:
        lines.append(
            "No provider key is set, so simulated providers answer: no model, no money."
            if not settings.sandbox
            else "SANDBOX=1: simulated providers answer."
        )
    else:
        lines.append(f"Providers: {', '.join(catalog.vendors)}")
    if settings.record_file is not None:
        held = "with pseudo-words for their texts" if settings.record_text == "scramble" else "with all that people wrote in them: guard it"
        lines.append(f"Model requests are recorded in {settings.record_file}, {held}.")
    if settings.virtual_time:
        lines.append("Time is virtual: it goes by the header x-tokenrouter-now of each request, and stands still in between.")
    if (client or admin) and not print_keys:
        path = settings.data_dir / _KEYS_FILE
        _write_private(path, f"client key: {client or '(made before)'}\nadmin key:  {admin or '(made before, or from ADMIN_API_KEY)'}\n")
        lines.append(f"Keys were made and written to {path}; read them, then delete the file.")
    else:
        lines += [f"client key: {client}"] if client else []
        lines += [f"admin key:  {admin}"] if admin else []
        if client or admin:
            lines.append("Keep them: they are shown this once, only their hashes are stored.")
        else:
            lines.append("Keys were made on the first start; `tokenrouter keys create` makes another.")
    lines += [
        "",
        "Try it; paste it twice to see a hit:",
        curl_line(base, (client or "YOUR-KEY") if print_keys else "YOUR-KEY", catalog.demo_model),
        "",
    ]
    print("\n".join(lines), flush=True)


def curl_line(base: str, key: str, model: str) -> str:
    """A request that works when it is pasted into a shell."""
    body = f'{{"model": "{model}", "temperature": 0, "messages": [{{"role": "user", "content": "Say hello to TokenRouter."}}]}}'
    return f"curl -i {base}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
