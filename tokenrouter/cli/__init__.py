"""The command line: reads arguments, calls the rooms. Each command lives in its own module and is imported only when it is called."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenrouter import __version__
from tokenrouter.errors import ConfigError, GatewayError, PortTaken


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 well, 1 refused for a reason that was printed, 2 wrong arguments."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (ConfigError, GatewayError, PortTaken) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tokenrouter", description="A gateway that makes LLM prompt caches hit.")
    parser.add_argument("--version", action="version", version=f"tokenrouter {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _serve(commands.add_parser("serve", help="start the gateway", description="Start the gateway. Settings: docs/settings.md."))
    _sandbox(commands.add_parser("sandbox", help="start the simulated providers alone", description="Serve the simulated providers on a port."))
    _explain(
        commands.add_parser(
            "explain",
            help="show what every room does to one request",
            description="Show what every room of the gateway does to one request. Nothing is sent anywhere.",
        )
    )
    _keys(commands.add_parser("keys", help="make, list and revoke API keys", description="Manage the API keys of the local DATA_DIR."))
    _migrate(
        commands.add_parser(
            "migrate",
            help="bring the stores' schema up to date",
            description="Bring the schema of the stores up to date. Safe to run at any time, and by several at once; "
            "the embedded stores do it by themselves.",
        )
    )
    _config(commands.add_parser("config", help="check the configuration", description="Look at the configuration."))
    _prices(commands.add_parser("prices", help="check and show prices", description="Look at the prices that requests are booked at."))
    return parser


def _with_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="read FILE instead of tokenrouter.toml")


def _serve(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.serve import serve

        return serve(arguments)

    _with_config(parser)
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT)")
    parser.add_argument("--workers", type=int, help="worker processes (WORKERS)")
    parser.add_argument("--print-keys", action="store_true", help="print the keys that are minted on first start instead of writing them to a file")
    parser.set_defaults(run=run)


def _sandbox(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.sandbox import sandbox

        return sandbox(arguments)

    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="port to listen on")
    parser.set_defaults(run=run)


def _explain(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.explain import explain

        return explain(arguments)

    _with_config(parser)
    parser.add_argument("request", metavar="REQUEST.json", help="the body of a request; - reads standard input")
    parser.add_argument("--dialect", default="openai-chat", help="API that the request speaks: openai-chat, anthropic-messages, gemini-generate, …")
    parser.add_argument("--vendor", help="show the request as this vendor would get it (its model name is kept unless --model is given)")
    parser.add_argument("--model", help="resolve this model instead of the one in the request")
    parser.add_argument("--tenant", default="default", help="tenant that asks (identities differ per tenant)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=run)


def _keys(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.keys import keys

        return keys(arguments)

    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="what")
    create = commands.add_parser("create", help="mint a key and print it, once")
    create.add_argument("--name", default="", help="for people")
    create.add_argument("--tenant", default="default", help="who it belongs to; nothing is shared between tenants")
    create.add_argument("--quota-usd", metavar="USD", help='what it may spend in all, e.g. "12.50"')
    create.add_argument("--rpm", type=int, default=0, help="requests per minute")
    create.add_argument("--model", action="append", default=[], help="a model that it may use; repeat for several; none: all")
    listing = commands.add_parser("list", help="show all keys")
    revoke = commands.add_parser("revoke", help="make a key invalid for good")
    revoke.add_argument("key_id", help="the part between sk-tr- and the next dash")
    for command in (create, listing, revoke):
        _with_config(command)
        command.add_argument("--json", action="store_true", help="for machines")
        command.set_defaults(run=run)


def _migrate(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.migrate import migrate

        return migrate(arguments)

    _with_config(parser)
    parser.add_argument("--pre", action="store_true", help="only what the version before this one, still running, can live with")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=run)


def _config(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.config import config

        return config(arguments)

    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="what")
    for name, text in (("check", "read everything and say what is wrong"), ("docs", "print docs/settings.md"), ("env", "print .env.example")):
        command = commands.add_parser(name, help=text)
        _with_config(command)
        command.set_defaults(run=run)


def _prices(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.prices import prices

        return prices(arguments)

    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="what")
    check = commands.add_parser("check", help="name listed models without a price, and prices that can not be true")
    show = commands.add_parser("show", help="print the price of one model, and where it comes from")
    show.add_argument("model", help="vendor/model, or the model alone")
    refresh = commands.add_parser("refresh", help="fetch the list of PRICES_REFRESH_URL; a running gateway uses it within a minute")
    refresh.add_argument("--force", action="store_true", help="take prices that moved by more than ten times, too")
    for command in (check, show, refresh):
        _with_config(command)
        command.add_argument("--json", action="store_true", help="for machines")
        command.set_defaults(run=run)
