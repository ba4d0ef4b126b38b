"""The command line: reads arguments, calls the rooms. Each command lives in its own module and is imported only when it is called."""

import argparse
import sys
from collections.abc import Callable, Sequence
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
    _replay(
        commands.add_parser(
            "replay",
            help="show what captured traffic would cost with the gateway",
            description="Send captured requests through the gateway against simulated providers, on a virtual clock. Nothing leaves this machine.",
        )
    )
    _keys(commands.add_parser("keys", help="make, show and change API keys", description="Manage API keys, here or at a running gateway."))
    _usage(commands.add_parser("usage", help="show what was used and what it cost", description="Totals of requests, tokens, cost and savings."))
    _limits(commands.add_parser("limits", help="show what binds a caller", description="Look at limits and caps with their counters."))
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
    parser.add_argument("--record", metavar="FILE", help="append model requests to FILE, for `tokenrouter replay` (RECORD_FILE)")
    parser.add_argument("--record-text", choices=("keep", "scramble"), help="with pseudo-words in the place of all texts (RECORD_TEXT)")
    parser.add_argument(
        "--virtual-time",
        action="store_true",
        default=None,
        help="take the time from each request's header x-tokenrouter-now (VIRTUAL_TIME)",
    )
    parser.add_argument("--print-keys", action="store_true", help="print the keys that are minted on first start instead of writing them to a file")
    parser.set_defaults(run=run)


def _sandbox(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.sandbox import sandbox

        return sandbox(arguments)

    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="port to listen on")
    parser.add_argument("--virtual-time", action="store_true", help="take the time from each request's x-tokenrouter-now")
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


def _replay(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.replay import replay

        return replay(arguments)

    parser.add_argument("capture", type=Path, metavar="FILE", help="one JSON object per line: at (seconds), path, body; docs/prompt-cache.md")
    parser.add_argument("--tenant", default="replay", help="tenant that asks")
    parser.add_argument("--as", dest="instead", action="append", default=[], metavar="NAME=MODEL", help="ask MODEL where the capture has NAME")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write a page with plots, too")
    parser.set_defaults(run=run)


def _keys(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.keys import keys

        return keys(arguments)

    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="what")
    create = commands.add_parser("create", help="mint a key and print it, once")
    create.add_argument("--tenant", default="default", help="who it belongs to; nothing is shared between tenants")
    listing = commands.add_parser("list", help="show all keys")
    listing.add_argument("--tenant", default="", help="of this tenant only")
    about = {
        "show": "show one key",
        "update": "change a key; what is not said stays as it is",
        "rotate": "give a key a new secret and print it, once",
        "revoke": "make a key invalid for good",
        "disable": "make a key invalid for the time being",
        "enable": "make a disabled key valid again",
    }
    named = {name: commands.add_parser(name, help=text) for name, text in about.items()}
    for command in named.values():
        command.add_argument("key_id", help="the part between sk-tr- and the next dash")
    named["rotate"].add_argument("--overlap", type=int, default=0, metavar="SECONDS", help="how long the secret before it goes on being valid")
    for command, unsaid in ((create, True), (named["update"], False)):
        taken = "" if unsaid else "; none: take it away"
        command.add_argument("--name", default="" if unsaid else None, help="for people")
        command.add_argument("--quota-usd", metavar="USD", help=f'what it may spend in all, e.g. "12.50"{taken}')
        command.add_argument("--rpm", type=int, default=0 if unsaid else None, help="requests per minute; 0: no limit of its own")
        command.add_argument("--model", action="append", default=[], help="a model that it may use; repeat for several; none: all")
        command.add_argument("--expires", metavar="WHEN", help=f"not valid from then on, like 2026-12-31T00:00:00Z{taken}")
    for command in (create, listing, *named.values()):
        _with_admin(command, run)


def _with_admin(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    """A command that drives the admin API."""
    parser.add_argument("--url", help="a running gateway (TOKENROUTER_URL), with ADMIN_API_KEY; without it, the stores of this machine")
    parser.add_argument("--json", action="store_true", help="for machines")
    _with_config(parser)
    parser.set_defaults(run=run)


def _usage(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.usage import usage

        return usage(arguments)

    parser.add_argument(
        "--by", action="append", default=[], help="tenant, key, customer, model, cache, label:NAME, hour, day, month; repeat or use commas"
    )
    parser.add_argument("--from", dest="since", metavar="WHEN", help="a day (2026-11-21) or a moment; default: 30 days back")
    parser.add_argument("--to", metavar="WHEN", help="up to then, itself not included; default: now")
    parser.add_argument("--zone", help="time zone in which days begin, like Europe/Berlin")
    for name in ("tenant", "key", "customer", "model", "cache"):
        parser.add_argument(f"--{name}", help=f"of this {name} only")
    parser.add_argument("--label", metavar="NAME:VALUE", help="with this label only")
    parser.add_argument("--limit", type=int, help="lines at most")
    parser.add_argument("--csv", action="store_true", help="for spreadsheets")
    _with_admin(parser, run)


def _limits(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from tokenrouter.cli.usage import limits

        return limits(arguments)

    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="what")
    check = commands.add_parser("check", help="would a request pass, and what binds it; exit status 3: it would not")
    check.add_argument("--key", help="a key's public id")
    check.add_argument("--tenant", help="a tenant, where no key in particular is meant")
    check.add_argument("--customer", help="on whose behalf")
    check.add_argument("--model", help="for which model")
    check.add_argument("--usd", help="what it could come to at most")
    check.add_argument("--tokens", type=int, help="how many tokens it could come to at most")
    _with_admin(check, run)


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
