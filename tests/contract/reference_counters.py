"""What the counters should say, written down a second time and as plainly as possible: lists, fractions and calendar dates. No shared code."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

WINDOWS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


class Reference:
    """Limits are {name: (metric, kind, window, amount, refill)}, caps {name: (unit, period, action, amount)}, in the order of the rules."""

    def __init__(self, limits, caps, now_ms):
        self.limits, self.caps, self.now = limits, caps, now_ms
        self.levels = {name: [Fraction(amount), self.tick(name)] for name, (_, kind, _, amount, _) in limits.items() if kind == "bucket"}
        self.logs = {name: [] for name, (_, kind, *_) in limits.items() if kind == "sliding"}
        self.inside = {name: set() for name, (metric, *_) in limits.items() if metric == "concurrency"}
        self.books = {}  # (counter) -> [spent, held, presumed]
        self.holds = {}  # id -> {"usd", "tokens", "caps": [(name, counter)], "takes": {limit: [[entry, size], ..]}}

    def tick(self, name):
        return self.now // (WINDOWS[self.limits[name][2]] // 60_000)

    def of(self, metric):
        return [name for name, (measured, *_) in self.limits.items() if measured == metric]

    def room(self, name):
        metric, kind, _, amount, refill = self.limits[name]
        if metric == "concurrency":
            return amount - len(self.inside[name])
        if kind == "sliding":
            return amount - sum(size for tick, size in self.logs[name] if tick > self.tick(name) - 60_000)
        level, tick = self.levels[name]
        self.levels[name] = [min(Fraction(amount), level + Fraction((self.tick(name) - tick) * (refill or amount), 60_000)), self.tick(name)]
        return self.levels[name][0] // 1

    def take(self, name, size):
        """Says in which entry."""
        if name in self.levels:
            self.room(name)
            self.levels[name][0] -= size
        else:
            self.logs[name].append((self.tick(name), size))
        return self.tick(name)

    def retake(self, hold, tokens):
        """What a call took is [[entry, size], ..]: more goes to the last entry if that is still there, else to a new one.

        What is too much goes back to the last entry only: those before it have left the window.
        """
        for name, pieces in hold["takes"].items():
            more, (entry, size) = tokens - sum(size for _, size in pieces), pieces[-1]
            if name in self.levels:
                self.room(name)
                pieces[-1][1] += more
                self.levels[name][0] = min(Fraction(self.limits[name][3]), self.levels[name][0] - more)
            elif more < 0:
                self.logs[name].append((entry, max(more, -size)))
            elif entry > self.tick(name) - 60_000 and sum(size for tick, size in self.logs[name] if tick == entry):
                pieces[-1][1] += more
                self.logs[name].append((entry, more))
            else:
                pieces.append([self.take(name, more), more])

    def counter(self, name, sandbox):
        period = self.caps[name][1]
        day = datetime.fromtimestamp(self.now // 1000, UTC).date()
        return ("s" if sandbox else "") + name + ("" if period == "total" else f":{day}" if period == "day" else f":{day:%Y-%m}")

    def ends(self, name):
        day = datetime.fromtimestamp(self.now // 1000, UTC).replace(hour=0, minute=0, second=0)
        after = {"day": day + timedelta(days=1), "month": (day.replace(day=1) + timedelta(days=32)).replace(day=1)}
        return int(after[self.caps[name][1]].timestamp()) * 1000 if self.caps[name][1] in after else 0

    def admit(self, request, requests, lease, usd, tokens, sandbox):
        """None if everything is given; else (name, left, resets_ms) of what refuses."""
        holds = usd is not None
        wants = [(1, "requests")] * requests + [(1, "concurrency")] * lease + [(tokens, "tokens")] * holds
        for size, metric in wants:
            for name in self.of(metric):
                if self.room(name) < size:
                    return name, max(0, self.room(name)), 0
        for name, (unit, period, action, amount) in self.caps.items() if holds else ():
            size = usd if unit == "usd" else tokens
            total = 0 if period == "request" else sum(self.books.get(self.counter(name, sandbox), [0]))
            if action != "warn" and total + size > amount:
                return name, max(0, amount - total), self.ends(name)
        for size, metric in wants:
            for name in self.of(metric):
                if metric == "concurrency":
                    self.inside[name].add(request)
                elif metric == "requests":
                    self.take(name, size)
        if holds:
            caps = [(name, self.counter(name, sandbox)) for name in self.caps if self.caps[name][1] != "request"]
            takes = {name: [[self.take(name, tokens), tokens]] for name in self.of("tokens")}
            self.holds[request] = {"usd": usd, "tokens": tokens, "caps": [(name, counter, self.size(name, usd, tokens)) for name, counter in caps]}
            self.holds[request]["takes"] = takes
            for name, counter in caps:
                self.books.setdefault(counter, [0, 0, 0])[1] += self.size(name, usd, tokens)
        return None

    def under_way(self, counter):
        """Whether a call that is not settled is booked in it."""
        return any(counter == held for hold in self.holds.values() for _, held, _ in hold["caps"])

    def size(self, name, usd, tokens):
        return usd if self.caps[name][0] == "usd" else tokens

    def leave(self, request):
        for inside in self.inside.values():
            inside.discard(request)

    def settle(self, request, usd, tokens, presumed):
        hold = self.holds.pop(request, None)
        if hold is None:
            return
        for name, counter, held in hold["caps"]:
            self.books[counter][1] -= held
            self.books[counter][2 if presumed else 0] += held if presumed else self.size(name, usd, tokens)
        if not presumed:
            self.retake(hold, tokens)

    def grow(self, request, usd, tokens):
        hold = self.holds.get(request)
        if hold is None:
            return
        for at, (name, counter, held) in enumerate(hold["caps"]):
            more = max(held, self.size(name, usd, tokens))
            self.books[counter][1] += more - held
            hold["caps"][at] = (name, counter, more)
        if tokens > hold["tokens"]:
            hold["tokens"] = tokens
            self.retake(hold, tokens)
