"""What a replay has found: figures for terminal, JSON and page. Money is nano-USD by the simulated vendors' own bill."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tokenrouter.model.edits import EDITS
from tokenrouter.model.volatile import Template
from tokenrouter.money import format_usd
from tokenrouter.prefixes.volatile import Slot, template_of
from tokenrouter.replay.leaks import Leak, Lost
from tokenrouter.replay.read import Captured, Mistake
from tokenrouter.replay.run import AS_IT_CAME, MOVED, WITH_GATEWAY, Asked, Policy

_MOST_SHOWN: Final = 10
_MOST_NAMED: Final = 20
_POINTS: Final = 240
_SHOWN_EDITS: Final = frozenset(edit.id for edit in EDITS if edit.switchable)


class Figures(msgspec.Struct, kw_only=True):
    """Input of some requests under one policy. Token buckets are disjoint."""

    id: str
    label: str
    input_nano: int = 0
    output_nano: int = 0
    input_tokens: int = 0
    read: int = 0
    written: int = 0

    @property
    def cached_share(self) -> float:
        """Of all input tokens, those that were read from the prompt cache."""
        return self.read / self.input_tokens if self.input_tokens else 0.0

    def add(self, asked: Asked) -> None:
        """One request more."""
        tokens = asked.tokens
        self.input_nano += asked.input_nano
        self.output_nano += asked.output_nano
        self.input_tokens += tokens.prompt
        self.read += tokens.cache_read
        self.written += tokens.cache_write_5m + tokens.cache_write_30m + tokens.cache_write_1h


class ModelRow(msgspec.Struct, kw_only=True):
    """One model's requests."""

    model: str
    requests: int = 0
    policies: dict[str, Figures] = {}
    bound_nano: int = 0


class CauseRow(msgspec.Struct, kw_only=True):
    """Prefixes that broke for one cause."""

    cause: str
    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0


class SlotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A text that differs from request to request. `approve`: what to say in a tenant's `prompt_cache.slots`, so that it moves; None: it can not."""

    place: str
    line: int
    kind: str
    template: str
    count: int
    distinct: int
    tokens: int
    nano_usd: int
    edit: str
    advice: str
    approve: Template | None = None


class Report(msgspec.Struct, kw_only=True):
    """Everything.

    requests       those that every policy has answered: all figures are of these
    left_out       lines that are no requests, then requests that were not answered; the first of them by name
    policies       sums, in the order of `replay.run.POLICIES`; `MOVED` behind them where there was something to move
    vendor_share   cached share as the vendors themselves reported it, where the capture says; None: it does not
    breaks         as it came; `breaks_left`: with the gateway
    curve          (seconds from the start, input as it came, input with the gateway), both summed up from the start
    """

    file: str
    requests: int = 0
    span_s: float = 0.0
    mistakes: int = 0
    refused: int = 0
    left_out: list[Mistake] = []
    policies: list[Figures] = []
    bound_nano: int = 0
    vendor_share: float | None = None
    models: list[ModelRow] = []
    breaks: list[CauseRow] = []
    breaks_left: list[CauseRow] = []
    leaks: list[Leak] = []
    slots: list[SlotRow] = []
    edits: list[tuple[str, int]] = []
    curve: list[tuple[float, int, int]] = []

    def of(self, policy: Policy) -> Figures:
        """The sums of one policy."""
        return next((figures for figures in self.policies if figures.id == policy.id), Figures(id=policy.id, label=policy.label))


def bound_label(report: Report) -> str:
    """What the bound is a bound of."""
    return "bound, nothing moved" if report.of(MOVED).input_tokens else "clairvoyant bound"


class Gatherer:
    """Takes what became of each request, and sums it up."""

    def __init__(self, file: str, policies: Sequence[Policy]) -> None:
        self._policies = policies
        self._moved: Figures | None = Figures(id=MOVED.id, label=MOVED.label)
        self._moved_requests = 0
        self._report = Report(file=file, policies=[Figures(id=policy.id, label=policy.label) for policy in policies])
        self._models: dict[str, ModelRow] = {}
        self._breaks: dict[str, CauseRow] = {}
        self._left: dict[str, CauseRow] = {}
        self._edits: Counter[str] = Counter()
        self._vendor_total = self._vendor_read = 0
        self._first_s: float | None = None
        self._step, self._since = 1, 0

    def leave_out(self, mistake: Mistake, *, refused: bool = False) -> None:
        """A line that does not count."""
        report = self._report
        if refused:
            report.refused += 1
        else:
            report.mistakes += 1
        if len(report.left_out) < _MOST_NAMED:
            report.left_out.append(mistake)

    def add(self, captured: Captured, asked: Mapping[str, Asked], lost: Lost | None) -> None:
        """A request that was answered under every policy."""
        report = self._report
        report.requests += 1
        record = asked[WITH_GATEWAY.id].record
        name = f"{record.vendor}/{record.model}"
        row = self._models.get(name)
        if row is None:
            row = self._models[name] = ModelRow(
                model=name, policies={policy.id: Figures(id=policy.id, label=policy.label) for policy in self._policies}
            )
        row.requests += 1
        for figures in report.policies:
            figures.add(asked[figures.id])
            row.policies[figures.id].add(asked[figures.id])
        if lost is not None:
            _count(self._breaks, lost.cause, lost.tokens, lost.nano_usd)
        if record.cache_break:
            _count(self._left, record.cache_break, record.cache_break_tokens, record.cache_break_cost)
        self._edits.update(set(record.edits) & _SHOWN_EDITS)
        if captured.usage is not None:
            self._vendor_total += captured.usage.total
            self._vendor_read += captured.usage.read
        self._draw(captured.at_s)

    def add_moved(self, asked: Asked) -> None:
        """The same request where texts were moved. A single one without an answer, and nothing can be compared."""
        if asked.why:
            self._moved = None
        elif self._moved is not None:
            self._moved.add(asked)
            self._moved_requests += 1

    def _draw(self, at_s: float) -> None:
        """A point of the curve; every second one goes whenever there are too many."""
        report = self._report
        self._first_s = at_s if self._first_s is None else self._first_s
        report.span_s = at_s - self._first_s
        self._since += 1
        if self._since < self._step:
            return
        self._since = 0
        report.curve.append((report.span_s, report.of(AS_IT_CAME).input_nano, report.of(WITH_GATEWAY).input_nano))
        if len(report.curve) > _POINTS:
            report.curve = report.curve[1::2]
            self._step *= 2

    def finish(self, bounds: Mapping[str, int], leaks: Sequence[Leak], slots: Sequence[Slot], approved: Sequence[Template] = ()) -> Report:
        """The report. `approved`: what was moved; all of it is told, or nobody could do the same."""
        report = self._report
        if report.requests:
            last = (report.span_s, report.of(AS_IT_CAME).input_nano, report.of(WITH_GATEWAY).input_nano)
            report.curve = [*report.curve, last] if report.curve[-1:] != [last] else report.curve
        known = defaultdict(int, bounds)
        for row in self._models.values():
            reached = min(figures.input_nano for figures in row.policies.values())
            row.bound_nano = min(known[row.model], reached)  # sizes of pieces are estimates, and what was reached can be reached
            report.bound_nano += row.bound_nano
        if self._moved is not None and self._moved.input_tokens and self._moved_requests == report.requests:
            report.policies.append(self._moved)
        report.models = sorted(self._models.values(), key=lambda row: (-row.policies[AS_IT_CAME.id].input_nano, row.model))
        report.breaks, report.breaks_left = _dearest(self._breaks), _dearest(self._left)
        report.leaks = list(leaks[:_MOST_SHOWN])
        rows = [_slot_row(slot, approved) for slot in slots if _telling(slot)]
        report.slots = [*rows[:_MOST_SHOWN], *[row for row in rows[_MOST_SHOWN:] if row.approve is not None]]
        report.edits = self._edits.most_common()
        report.vendor_share = self._vendor_read / self._vendor_total if self._vendor_total else None
        return report


def as_json(report: Report) -> bytes:
    """For machines: USD as exact decimals in texts."""
    value = msgspec.to_builtins(report)
    for figures in (*value["policies"], *[each for row in value["models"] for each in row["policies"].values()]):
        figures["cached_share"] = figures["read"] / figures["input_tokens"] if figures["input_tokens"] else 0.0
    for leak in value["leaks"]:
        del leak["worst"]
    value["curve"] = [{"at_s": at_s, "as_it_came_nano": one, "gateway_nano": other} for at_s, one, other in value["curve"]]
    value["edits"] = [{"id": name, "requests": count} for name, count in value["edits"]]
    return msgspec.json.encode(_in_usd(value))


def _in_usd(value: object) -> object:
    if isinstance(value, list):
        return [_in_usd(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, object] = {}
    for name, item in value.items():
        if name == "nano_usd":
            found["usd"] = format_usd(item)
        elif name.endswith("_nano"):
            found[f"{name.removesuffix('_nano')}_usd"] = format_usd(item)
        else:
            found[name] = _in_usd(item)
    return found


def _count(rows: dict[str, CauseRow], cause: str, tokens: int, nano_usd: int) -> None:
    row = rows.setdefault(cause, CauseRow(cause=cause))
    row.requests, row.tokens, row.nano_usd = row.requests + 1, row.tokens + tokens, row.nano_usd + nano_usd


def _dearest(rows: Mapping[str, CauseRow]) -> list[CauseRow]:
    return sorted(rows.values(), key=lambda row: (-row.nano_usd, -row.requests, row.cause))


def _telling(slot: Slot) -> bool:
    """Tools in another order, and first messages of other conversations, differ without being slots."""
    return bool(slot.kind) or slot.section == "system"


def _slot_row(slot: Slot, approved: Sequence[Template]) -> SlotRow:
    template = template_of(slot)
    return SlotRow(
        place=slot.path,
        line=slot.line,
        kind=slot.kind,
        template=slot.template,
        count=slot.count,
        distinct=slot.distinct,
        tokens=slot.tokens,
        nano_usd=slot.nano_usd,
        edit=slot.edit,
        advice=slot.advice,
        approve=template if template in approved else None,
    )
