"""`tokenrouter sandbox`: the simulated providers as a server of their own."""

import argparse
import sys

from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from tokenrouter.catalog.loader import known_hosts
from tokenrouter.cli.serve import check_port


def sandbox(arguments: argparse.Namespace) -> int:
    """Run until told to stop. Raises PortTaken, ConfigError."""
    check_port(arguments.host, arguments.port)
    server = Server(
        "tokenrouter.sandbox.app:create_virtual_app" if arguments.virtual_time else "tokenrouter.sandbox:create_app",
        factory=True,
        address=arguments.host,
        port=arguments.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop if sys.platform != "win32" else Loops.auto,
        websockets=False,
        backlog=4096,
        backpressure=20_000,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
    )
    base = f"http://{arguments.host}:{arguments.port}"
    print("Simulated providers, base URLs:\n" + "\n".join(f"  {name:10} {base}{path}" for name, _, path in known_hosts() if path), flush=True)
    server.serve()
    return 0
