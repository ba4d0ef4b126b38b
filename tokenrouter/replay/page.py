"""The report as one HTML page: no script, no font, no address; it can be mailed around. Short texts around breaks are in it, escaped."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tokenrouter import __version__
from tokenrouter.replay.leaks import Leak
from tokenrouter.replay.plots import Bar, Curve, bars, curves, html_of
from tokenrouter.replay.report import CauseRow, Report, SlotRow, bound_label
from tokenrouter.replay.run import AS_IT_CAME, WITH_GATEWAY
from tokenrouter.replay.words import change, dollars, percent, span

_STYLE: Final = """
:root{--ink:#1b2430;--soft:#5d6b7a;--line:#dfe5ec;--paper:#fff;--panel:#f6f8fa;--one:#9aa7b5;--two:#d9a441;--three:#1f7a8c;--five:#14576b;--four:#bfdbe0;--bad:#c2503d}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b5;--line:#2e3946;--paper:#141a21;--panel:#1c242d;--one:#6b7a8a;--four:#35525a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:44px 0 10px}
p{margin:6px 0}.soft{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;margin:24px 0 8px}
.card{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:14px 18px}
.card b{display:block;font-size:26px;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:7px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
ol{padding-left:26px}li{margin:0 0 16px}
code{font:13px/1.45 ui-monospace,monospace;background:var(--panel);border:1px solid var(--line);border-radius:4px;padding:0 4px}
code{overflow-wrap:anywhere;white-space:pre-wrap}
del{color:var(--bad)}ins{color:var(--three);text-decoration:none;font-weight:600}
svg{width:100%;max-width:800px;height:auto;display:block}
svg text{font:13px system-ui,sans-serif;fill:var(--ink)}svg .axis{fill:var(--soft);font-size:12px}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:2.5}
rect.one{fill:var(--one)}rect.two{fill:var(--two)}rect.three{fill:var(--three)}rect.five{fill:var(--five)}rect.four{fill:var(--four)}rect.bad{fill:var(--bad)}
.line.one{stroke:var(--one)}.line.three{stroke:var(--three)}
"""
_COLORS: Final = ("one", "two", "three", "five")


def page(report: Report) -> str:
    """The whole page."""
    parts = [
        f"<h1>Replay of {html_of(report.file)}</h1>",
        f'<p class="soft">{report.requests:,} requests over {span(report.span_s)}. Input cost, by the bill of simulated vendors that follow the '
        "published cache rules and prices. Kept answers are off. Output is left out: the answers are not those of the capture.</p>",
        _cards(report),
        "<h2>Input cost</h2>",
        _costs(report),
        "<h2>Over time</h2>",
        _over_time(report),
        "<h2>By model</h2>",
        _models(report),
        "<h2>What broke, as it came</h2>",
        _breaks(report.breaks, "Every prefix that had been sent before was read wherever it could be."),
        "<h2>What still breaks with the gateway</h2>",
        _breaks(report.breaks_left, "Nothing that the gateway had written was lost."),
        "<h2>The most expensive leaks</h2>",
        _leaks(report.leaks),
        "<h2>Text that differs from request to request</h2>",
        _slots(report.slots),
        "<h2>Edits that were made</h2>",
        _table(("edit", "#requests"), [(f"<code>{html_of(name)}</code>", f"{count:,}") for name, count in report.edits], "None."),
        *_left_out(report),
        f'<p class="soft">TokenRouter {html_of(__version__)}. The bound is what a clairvoyant would pay who may keep every piece of a prompt by '
        "itself; it is an estimate, and out of reach.</p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Replay</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><main>{"".join(parts)}</main></body></html>\n'


def _cards(report: Report) -> str:
    plain, ours = report.of(AS_IT_CAME), report.of(WITH_GATEWAY)
    said = [
        ("as it came", dollars(plain.input_nano), f"{percent(plain.cached_share)} cached"),
        ("with the gateway", dollars(ours.input_nano), f"{percent(ours.cached_share)} cached"),
        ("difference", change(plain.input_nano, ours.input_nano) or "none", f"bound: {change(plain.input_nano, report.bound_nano) or 'none'}"),
    ]
    if report.vendor_share is not None:
        said.append(("as the vendors reported", percent(report.vendor_share), "cached, in the capture"))
    cards = "".join(
        f'<div class="card"><span class="soft">{a}</span><b>{html_of(b)}</b><span class="soft">{html_of(c)}</span></div>' for a, b, c in said
    )
    return f'<div class="cards">{cards}</div>'


def _costs(report: Report) -> str:
    rows = [Bar(each.label, each.input_nano, dollars(each.input_nano), color) for each, color in zip(report.policies, _COLORS, strict=False)]
    return bars([*rows, Bar(bound_label(report), report.bound_nano, dollars(report.bound_nano), "four")], "Input cost by policy")


def _over_time(report: Report) -> str:
    plain, ours = report.of(AS_IT_CAME), report.of(WITH_GATEWAY)
    high = max(plain.input_nano, ours.input_nano)
    lines = [
        Curve(plain.label, [(0.0, 0.0), *[(x, float(y)) for x, y, _ in report.curve]], "one"),
        Curve(ours.label, [(0.0, 0.0), *[(x, float(y)) for x, _, y in report.curve]], "three"),
    ]
    ticks = [span(report.span_s * share) for share in (0.0, 0.5, 1.0)]
    return curves(lines, "Input cost over time, summed up", ticks, [dollars(round(high * share)) for share in (0.0, 0.5, 1.0)])


def _models(report: Report) -> str:
    rows, drawn = [], []
    for row in report.models:
        plain, ours = row.policies[AS_IT_CAME.id], row.policies[WITH_GATEWAY.id]
        rows.append(
            (
                html_of(row.model),
                f"{row.requests:,}",
                dollars(plain.input_nano),
                dollars(ours.input_nano),
                change(plain.input_nano, ours.input_nano),
                dollars(row.bound_nano),
                percent(plain.cached_share),
                percent(ours.cached_share),
            )
        )
        drawn += [
            Bar(row.model, plain.cached_share, f"{percent(plain.cached_share)} as it came", "one"),
            Bar("", ours.cached_share, f"{percent(ours.cached_share)} with", "three"),
        ]
    names = ("model", "#requests", "#as it came", "#gateway", "#change", "#bound", "#cached", "#gateway cached")
    return _table(names, rows, "None.") + "<p>Share of input tokens that were read from the prompt cache:</p>" + bars(drawn[:16], "Cached share")


def _breaks(rows: Sequence[CauseRow], none: str) -> str:
    if not rows:
        return f"<p>{none}</p>"
    drawn = [Bar(row.cause, row.nano_usd, dollars(row.nano_usd), "bad") for row in rows]
    told = [(html_of(row.cause), f"{row.requests:,}", f"{row.tokens:,}", dollars(row.nano_usd)) for row in rows]
    return bars(drawn, "Cost of broken prefixes by cause") + _table(("cause", "#requests", "#tokens", "#beyond reading"), told, "")


def _leaks(leaks: Sequence[Leak]) -> str:
    if not leaks:
        return "<p>None.</p>"
    return f"<ol>{''.join(map(_leak, leaks))}</ol>"


def _leak(leak: Leak) -> str:
    fix = f"The edit <code>{html_of(leak.remedy)}</code> helps." if leak.remedy else "No edit of the gateway helps."
    advice = f" Or in the client: {html_of(leak.advice)}." if leak.advice and leak.advice not in leak.sentence else ""
    text, excerpt = leak.excerpt, ""
    if text.before or text.after:
        changed = f"<del>{html_of(text.before, 120)}</del> → <ins>{html_of(text.after, 120)}</ins>"
        excerpt = f"<p><code>{html_of(text.left[-60:])}{changed}{html_of(text.right[:60])}</code></p>"
    figures = f"{leak.requests:,} requests, {leak.tokens:,} tokens, {html_of(leak.model)}, worst in line {leak.line}"
    return f'<li><strong>{dollars(leak.nano_usd)}</strong> {html_of(leak.sentence, 600)}{excerpt}<p class="soft">{fix}{advice} {figures}.</p></li>'


def _slots(slots: Sequence[SlotRow]) -> str:
    rows = [
        (
            f"{html_of(slot.place)}, line {slot.line}<br><code>{html_of(slot.template)}</code>",
            html_of(slot.kind) or "-",
            f"{slot.count:,}",
            f"{slot.distinct:,}",
            dollars(slot.nano_usd),
            _help(slot),
        )
        for slot in slots
    ]
    return _table(("where", "kind", "#times", "#values", "#beyond reading", "what helps"), rows, "None was found.")


def _help(slot: SlotRow) -> str:
    if slot.approve is None:
        return html_of(slot.advice)
    said = msgspec.json.encode(slot.approve).decode()
    return f"<code>{html_of(slot.edit)}</code>, once a tenant's <code>prompt_cache.slots</code> has <code>{html_of(said, 2000)}</code>"


def _left_out(report: Report) -> Iterable[str]:
    if not report.left_out:
        return
    count = report.mistakes + report.refused
    yield f"<h2>Left out</h2><p>{report.mistakes:,} lines are no requests, {report.refused:,} requests were not answered. They are in no figure.</p>"
    yield _table(("#line", "why"), [(f"{each.number:,}", html_of(each.why)) for each in report.left_out], "")
    if count > len(report.left_out):
        yield f'<p class="soft">And {count - len(report.left_out):,} more.</p>'


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> str:
    """Cells come in escaped. A name that begins with "#" is that of numbers."""
    if not rows:
        return f"<p>{none}</p>"
    numbers = [name.startswith("#") for name in names]
    head = "".join(f'<th class="n">{name[1:]}</th>' if name.startswith("#") else f"<th>{name}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td class={chr(34)}n{chr(34)}>{cell}</td>' if n else f'<td>{cell}</td>' for n, cell in zip(numbers, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
