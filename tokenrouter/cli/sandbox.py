"""`tokenrouter sandbox`: the simulated providers as a server of their own."""

import argparse
import sys

from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from tokenrouter.cli.serve import check_port


def sandbox(arguments: argparse.Namespace) -> int:
    """Run until told to stop. Raises PortTaken, ConfigError."""
    check_port(arguments.host, arguments.port)
    server = Server(
        "tokenrouter.sandbox:create_app",
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
    paths = ("openai/v1", "anthropic", "deepseek", "gemini/v1beta", "gemini/v1beta/openai", "echo/v1")
    print("Simulated providers, base URLs:\n" + "\n".join(f"  {base}/{path}" for path in paths), flush=True)
    server.serve()
    return 0
