"""`tokenrouter replay`: what captured traffic would cost with the gateway. Nothing leaves the machine."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape as as_text
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from tokenrouter.errors import ConfigError
from tokenrouter.replay.page import page
from tokenrouter.replay.replaying import replay as replayed
from tokenrouter.replay.report import CauseRow, Report, as_json, bound_label
from tokenrouter.replay.run import AS_IT_CAME, WITH_GATEWAY
from tokenrouter.replay.words import change, dollars, harmless, one_line, percent, span
from tokenrouter.storage.directory_rows import check_tenant


def replay(arguments: argparse.Namespace) -> int:
    """Replay a file and print what was found. Raises ConfigError."""
    path: Path = arguments.capture
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if not path.is_file():
        raise ConfigError(f"{path}: not a file; a pipe can not be read twice, so write it to a file first")
    if not size:
        raise ConfigError(f"{path}: the file is empty")
    if arguments.html is not None:
        _check_page(arguments.html, path)
    try:
        check_tenant(arguments.tenant)
    except ValueError as error:
        raise ConfigError(f"--tenant {arguments.tenant}: {error}") from error
    report = asyncio.run(_with_progress(path, size, arguments.tenant, _instead(arguments.instead)))
    if arguments.html is not None:
        try:
            arguments.html.write_text(page(report), encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(f"{arguments.html}: {error.strerror}") from error
    if arguments.json:
        print(as_json(report).decode())
    else:
        _print(report, Console())
        if arguments.html is not None:
            print(f"The page is in {arguments.html}")
    return 0


def _check_page(html: Path, capture: Path) -> None:
    """Before the work, not behind it. Raises ConfigError."""
    if not html.absolute().parent.is_dir():
        raise ConfigError(f"{html}: there is no such folder")
    if html.is_dir():
        raise ConfigError(f"{html}: a folder; name a file in it")
    if html.exists() and html.samefile(capture):
        raise ConfigError(f"--html {html}: this is the capture itself; name another file")


def escape(text: str) -> str:
    """What others wrote, as nothing but text: neither to the library that prints nor to the terminal."""
    return as_text(harmless(text))


def _instead(said: Sequence[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in said]
    wrong = next((pair for pair, (name, _, other) in zip(said, pairs, strict=True) if not name or not other), None)
    if wrong is not None:
        raise ConfigError(f"--as {wrong}: say NAME=MODEL, like claude-3-5-sonnet-20241022=claude-sonnet-4-5")
    return {name: other for name, _, other in pairs}


async def _with_progress(path: Path, size: int, tenant: str, instead: Mapping[str, str]) -> Report:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=size)
        return await replayed(path, tenant=tenant, instead=instead, progress=lambda done: progress.update(task, completed=done))


def _print(report: Report, console: Console) -> None:
    plain, ours = report.of(AS_IT_CAME), report.of(WITH_GATEWAY)
    console.rule(f"[bold]{escape(report.file)}[/]: {report.requests:,} requests over {span(report.span_s)}")
    costs = Table("policy", "input", "change", "cached", "output, simulated", title="Input cost, by the simulated vendors' bill")
    for policy in report.policies:
        costs.add_row(
            policy.label,
            dollars(policy.input_nano),
            change(plain.input_nano, policy.input_nano),
            percent(policy.cached_share),
            dollars(policy.output_nano),
        )
    costs.add_row(bound_label(report), dollars(report.bound_nano), change(plain.input_nano, report.bound_nano), "", "")
    console.print(costs)
    if report.vendor_share is not None:
        console.print(f"cached, as the vendors themselves reported it in the capture: {percent(report.vendor_share)}")
    models = Table(Column("model", overflow="fold"), "requests", "as it came", "gateway", "bound", Column("cached", no_wrap=True), title="By model")
    for row in report.models:
        one, other = row.policies[AS_IT_CAME.id], row.policies[WITH_GATEWAY.id]
        models.add_row(
            escape(row.model),
            f"{row.requests:,}",
            dollars(one.input_nano),
            dollars(other.input_nano),
            dollars(row.bound_nano),
            f"{percent(one.cached_share)} → {percent(other.cached_share)}",
        )
    console.print(models)
    _print_breaks(report.breaks, "What broke, as it came", console)
    _print_breaks(report.breaks_left, "What still breaks with the gateway", console)
    _print_leaks(report, console)
    if report.edits:
        console.print("edits: " + ", ".join(f"{name} in {count:,}" for name, count in report.edits))
    if report.left_out:
        console.print(f"[yellow]left out[/]: {report.mistakes:,} lines that are no requests, {report.refused:,} requests that were not answered")
        for each in report.left_out:
            console.print(f"  line {each.number}: {escape(each.why)}")
        if any(each.why.startswith("404") for each in report.left_out):
            console.print("  A model that is not simulated can be replayed as one that is: --as NAME=MODEL")
    console.print(f"input {dollars(plain.input_nano)} → {dollars(ours.input_nano)} ({change(plain.input_nano, ours.input_nano) or 'no change'})")


def _print_breaks(rows: Sequence[CauseRow], title: str, console: Console) -> None:
    if not rows:
        return
    table = Table("cause", "requests", "tokens", "beyond reading", title=title)
    for row in rows:
        table.add_row(escape(row.cause), f"{row.requests:,}", f"{row.tokens:,}", dollars(row.nano_usd))
    console.print(table)


def _print_leaks(report: Report, console: Console) -> None:
    if report.leaks:
        console.rule("The most expensive leaks")
    for number, leak in enumerate(report.leaks, 1):
        fix = f"edit {leak.remedy}" if leak.remedy else "only the client can help"
        console.print(f"{number:>2}. [bold]{dollars(leak.nano_usd)}[/] {escape(leak.model)}: {escape(leak.sentence)}")
        console.print(f"    [dim]{leak.requests:,} requests, {leak.tokens:,} tokens, worst in line {leak.line}; {escape(fix)}[/]")
    if report.slots:
        console.rule("Text that differs from request to request")
    for slot in report.slots:
        fix = slot.advice if slot.approve is None else f"edit {slot.edit}, once it is approved: --json has what to say in prompt_cache.slots"
        console.print(f"  {dollars(slot.nano_usd)} {escape(slot.place)}, line {slot.line}: {escape(one_line(slot.template))} [dim]({escape(fix)})[/]")
