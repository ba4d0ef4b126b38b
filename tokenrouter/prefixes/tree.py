"""The memory of prompt prefixes: one bounded tree per cache scope (tenant, account, model).

`forest.Forest.of(scope, limits)` gives a tree. Per request: `look` before sending (changes nothing), `note` once it is on its way (counts the visit),
`began` when its answer begins (what it writes can be read from then on), `learn` from the usage that was reported. `note` and `began` may be
left out: `learn` does what they would have done. `learn` leaves a `Lesson` for the trees of other processes, which `hear` it.
Everything is believed only: what the vendor reports corrects it, and losing it costs savings, never requests.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence

from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.model.usage import Usage
from tokenrouter.prefixes.classes import places_of
from tokenrouter.prefixes.looks import LONGEST_HEAD_NS, NEAR, TELLING, Learned, Lesson, Live, Look, Mark, Node, Visit
from tokenrouter.prefixes.survival import SECOND, Survival

MOST_NODES = 100_000
_HEAVY = 4.0
_AUTOMATIC_S = 300
_WINDOW = 20_000.0


class Tree:
    """Prefixes of one scope. A node is forgotten only after all that lead on from it.

    One that `decides` has places to mark in its looks, where the vendor takes marks, and learns when prefixes come back.
    """

    __slots__ = (
        "_decides",
        "_exact",
        "_expected",
        "_guessed",
        "_head_ns",
        "_lost",
        "_mean",
        "_most",
        "_nodes",
        "_refused",
        "lesson",
        "limits",
        "scope",
        "survival",
    )

    def __init__(self, scope: CacheScope, limits: PromptCacheLimits, most_nodes: int = MOST_NODES, *, decides: bool = True) -> None:
        self.scope = scope
        self._decides = decides
        self.limits = limits
        self.survival = Survival()
        self.lesson: Lesson | None = None
        """What the last `learn` has to tell."""
        self._nodes: OrderedDict[bytes, Node] = OrderedDict()
        self._most = most_nodes
        self._exact, self._guessed = 2000.0, 2000.0
        self._expected, self._lost = 50.0, 0.5
        self._refused = 0
        self._mean = 8000.0
        self._head_ns = SECOND

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def ratio(self) -> float:
        """Exact tokens per estimated one, as reported so far."""
        return self._exact / self._guessed

    @property
    def lost(self) -> float:
        """Share of entries that are gone before their time."""
        return self._lost / self._expected

    @property
    def least(self) -> int:
        """Tokens below which nothing is cached: the catalog's word, or more where marks made no entry."""
        return max(self.limits.min_tokens, self._refused)

    def look(self, sight: Sight, now_ns: int, *, patient: bool = False) -> Look:
        """What is known of a request. Changes nothing but caches of figures. `patient`: it may wait for what others write."""
        look = Look(sight, self.limits, now_ns, ratio=self.ratio, lost=self.lost, least=self.least, patient=patient)
        nodes = self._known(sight)
        branches: list[int] = []
        look.seen = len(nodes) - 1
        if nodes:
            deepest = nodes[-1]
            look.count = deepest.count
            gap_ns = max(0, now_ns - deepest.last_ns)
            look.head_ns = self._head_ns
            beside = look.beside(deepest)
            look.gap_s = -1.0 if beside else gap_ns / SECOND
            look.generation = deepest.generation + (not beside) if look.seen >= sight.root else 0
            notable = [(index, node) for index, node in enumerate(nodes) if node.notable]
            look.anchor([(index, node.tokens) for index, node in notable if node.tokens])
            live = []
            for index, node in notable:
                if node.lives is None:
                    continue
                entry = node.alive(now_ns)
                if entry is not None and (tokens := node.tokens or look.tokens_at(index)) >= look.least:
                    live.append(Live(index, tokens, *entry))
            branches = [index for index, node in notable if node.children > 1]
            look.live = tuple(live) if self.limits.style != "automatic" else self._automatic(look, deepest)
        if self._decides and self.limits.style in ("marks", "breakpoints"):
            look.places = places_of(look, nodes, branches, self.survival)
        return look

    def _automatic(self, look: Look, deepest: Node) -> tuple[Live, ...]:
        """Vendors that cache by themselves have what was sent a short while ago, as long as nothing says otherwise."""
        dies_ns = deepest.last_ns + _AUTOMATIC_S * SECOND
        tokens = look.tokens_at(look.seen)
        if dies_ns <= look.now_ns or deepest.last_ns < deepest.gone_ns or tokens < look.least:
            return ()
        return (Live(look.seen, tokens, _AUTOMATIC_S, dies_ns),)

    def note(self, look: Look, now_ns: int) -> None:
        """A request was sent: its visit counts, whatever becomes of it. A second call for the same look does nothing."""
        if look.visit is not None:
            return
        look.visit = Visit(now_ns)
        self.survival.pass_time(now_ns)
        path = self._visit(b"", look.sight.links, now_ns, look.generation, look.visit, 0 if look.patient else self._head_ns)
        if not look.places:
            return
        self._mean += (look.places[-1].tokens - self._mean) / 64
        alike = Counter([place.keys[-1] for place in look.places])
        for place in look.places:
            node = path[place.boundary]
            if node.spell is not None:  # one that this request came beside
                continue
            stake = min(place.tokens / self._mean, _HEAVY)  # what matters is how many tokens come back, not how many prompts
            node.spell = self.survival.begin(place.keys, now_ns, stake / alike[place.keys[-1]])

    def began(self, look: Look, marks: Sequence[Mark], started_ns: int, now_ns: int, *, implicit: bool = False) -> None:
        """The answer began: what the request wrote can be read, so followers may count on it. Arguments as in `learn`."""
        self.note(look, started_ns)
        self.answered(look, now_ns)
        if now_ns > started_ns:  # or the clock stands still, which says nothing
            self._head_ns += (min(now_ns - started_ns, LONGEST_HEAD_NS) - self._head_ns) // 16
        hits, _ = self._hits(look, marks, implicit)
        deepest = max(hits, default=-1)
        for boundary, lifetime_s in marks:
            if boundary > deepest and look.tokens_at(boundary) >= look.least:
                self._enliven(look.sight.links[boundary], look.lifetime(lifetime_s), started_ns, now_ns)

    def answered(self, look: Look, now_ns: int) -> None:
        """Its answer has begun, or will never come: nobody comes beside it any longer."""
        if look.visit is not None and not look.visit.begun_ns:
            look.visit.begun_ns = now_ns

    def learn(self, look: Look, marks: Sequence[Mark], usage: Usage, started_ns: int, now_ns: int, *, implicit: bool = False) -> Learned:
        """Correct what is believed by what was reported.

        marks     all that were sent, the client's and the vendor's own (the newest end, in implicit mode) included
        implicit  the vendor looks for earlier ends by itself
        """
        self.note(look, started_ns)
        self.answered(look, now_ns)
        hits, expected = self._hits(look, marks, implicit)
        if not (usage.reported and usage.cache_reported):
            self._write(look, marks, max(hits, default=-1), started_ns, now_ns)
            self._tell(look, started_ns, marks, ())
            return Learned(reported=False, expected=expected)
        read, written = usage.cache_read, usage.cache_write + usage.cache_write_1h
        boundary = look.boundary_of(read, list(hits))
        gone = self._lose(look, hits, boundary, read, started_ns)
        exact = self._anchor(look, marks, boundary, usage)
        last = max([mark for mark, _ in marks], default=-1)
        unwritten = False
        if written:
            self._write(look, marks, boundary, started_ns, now_ns)
            if look.tokens_at(last) < self._refused:
                self._refused = 0
        elif last > boundary and look.tokens_at(last) > read * 1.02 + TELLING:
            unwritten = not read
            gone += self._miss(look, marks, boundary, started_ns)
            if unwritten and look.exact_before(last + 1)[0] == last and look.tokens_at(last) < 8192:
                self._refused = max(self._refused, look.tokens_at(last) + 1)
        for mark, lifetime_s in marks:
            hit = self._hit(look, mark)
            if hit is not None and (hit.boundary <= boundary):
                self._enliven(look.sight.links[hit.boundary], hit.lifetime_s, started_ns, started_ns)
            elif mark == boundary:
                self._enliven(look.sight.links[mark], look.lifetime(lifetime_s), started_ns, started_ns)
        self._tell(look, started_ns, marks, tuple(gone), tuple(exact))
        surprise = "lost" if gone and expected > read else "unwritten" if unwritten else "found" if read > expected * 1.1 + TELLING else ""
        return Learned(reported=True, expected=expected, read=read, boundary=boundary, surprise=surprise)

    def hear(self, lesson: Lesson) -> None:
        """Apply what another process learned. In any order, once each; a lesson whose base was forgotten starts a path of its own."""
        if lesson.scope != self.scope:
            return
        self.survival.pass_time(lesson.at_ns)
        self._visit(lesson.base, lesson.links, lesson.at_ns, lesson.generation, None, self._head_ns)
        for link in lesson.gone:
            self._kill(link, lesson.at_ns)
        for link, lifetime_s, begun_ns, dies_ns in lesson.lives:
            self._enliven(link, lifetime_s, begun_ns, begun_ns, dies_ns=dies_ns)
        for link, tokens in lesson.exact:
            self._fix(link, tokens)

    def _known(self, sight: Sight) -> list[Node]:
        found = list(map(self._nodes.get, sight.links))
        if None in found:
            del found[found.index(None) :]
        return found  # type: ignore[return-value]

    def _visit(self, base: bytes, links: Sequence[bytes], now_ns: int, generation: int, visit: Visit | None, head_ns: int) -> list[Node]:
        """Count one request on the path of `links` and on all that leads to `base`; the nodes of `links`.

        `visit`: None is one of another process; `head_ns`: as in `Node.beside`, 0 where nobody is beside it.
        """
        nodes = self._nodes
        parent = nodes.get(base) if base else None
        upward = parent
        lower: list[Node] = []
        while upward is not None and nodes.get(upward.link) is upward:  # others may tell of paths that are not whole
            lower.append(upward)
            upward = upward.parent
        path: list[Node] = []
        for link in links:
            node = nodes.get(link)
            if node is None:
                node = nodes[link] = Node(link, parent, now_ns, generation)
                if parent is not None:
                    parent.children += 1
                    parent.notable = parent.notable or parent.children > 1
            path.append(node)
            parent = node
        end = self.survival.end
        for node in (*reversed(path), *lower):  # a node always stands behind all that lead on from it
            if not node.count or not head_ns or not node.beside(now_ns, head_ns):
                node.rounds += 1
                node.visit = visit
                if node.spell is not None:
                    end(node.spell, now_ns)
                    node.spell = None
            node.count += 1
            node.last_ns = max(node.last_ns, now_ns)
            node.first_ns = min(node.first_ns, now_ns)
            nodes.move_to_end(node.link)
        while len(nodes) > self._most:
            _, oldest = nodes.popitem(last=False)
            if oldest.spell is not None:
                oldest.spell.over = True  # censored: whether it comes back will not be known
            if oldest.parent is not None:
                oldest.parent.children -= 1
                oldest.parent = None
        return path

    @staticmethod
    def _hit(look: Look, mark: int) -> Live | None:
        """The entry that a mark is expected to find."""
        for live in reversed(look.live):
            if live.boundary <= mark:
                return live if look.reaches(mark, live.boundary) else None
        return None

    def _hits(self, look: Look, marks: Sequence[Mark], implicit: bool) -> tuple[dict[int, Live], int]:
        """Entries that the marks are expected to find, by boundary, and the tokens of the deepest."""
        hits: dict[int, Live] = {}
        if look.live and (implicit or self.limits.style == "automatic"):
            hits[look.live[-1].boundary] = look.live[-1]
        for mark, _ in marks:
            if (hit := self._hit(look, mark)) is not None:
                hits[hit.boundary] = hit
        return hits, max([hit.tokens for hit in hits.values()], default=0)

    def _lose(self, look: Look, hits: dict[int, Live], boundary: int, read: int, started_ns: int) -> list[bytes]:
        """Entries that were to be read and were not are gone. Their share is learned."""
        gone: list[bytes] = []
        for hit in hits.values():
            self._expected += 1.0
            if hit.boundary > boundary and hit.tokens > read * (1 + NEAR) + TELLING:
                self._lost += 1.0
                gone.append(look.sight.links[hit.boundary])
                self._kill(gone[-1], started_ns)
        if self._expected > 400.0:
            self._expected *= 0.5
            self._lost *= 0.5
        return gone

    def _miss(self, look: Look, marks: Sequence[Mark], boundary: int, started_ns: int) -> list[bytes]:
        """Marks that made no entry after all."""
        gone = []
        for mark, _ in marks:
            if mark > boundary:
                gone.append(look.sight.links[mark])
                self._kill(gone[-1], started_ns + 1)
        return gone

    def _anchor(self, look: Look, marks: Sequence[Mark], boundary: int, usage: Usage) -> list[tuple[bytes, int]]:
        """Exact tokens: of what was read, of what was read and written (up to the last mark), of the whole prompt."""
        links = look.sight.links
        exact: dict[int, int] = {}
        total = usage.input_total - look.sight.behind
        if total > 0:
            exact[len(links) - 1] = total
        if usage.cache_read and boundary >= 0:
            exact[boundary] = usage.cache_read
        if written := usage.cache_write + usage.cache_write_1h:
            exact[max([mark for mark, _ in marks], default=len(links) - 1)] = usage.cache_read + written
        known, tokens = look.exact_before(len(links) - 1)
        guess = (look.raw_at(len(links) - 1) - look.raw_at(known)) if known < len(links) - 1 else 0
        if guess >= TELLING and total > tokens:
            self._exact += total - tokens
            self._guessed += guess
            if self._guessed > _WINDOW:
                self._exact *= 0.5
                self._guessed *= 0.5
        anchors = sorted(exact.items())
        for index, count in anchors:
            self._fix(links[index], count)
        look.anchor(anchors)
        return [(links[index], count) for index, count in anchors]

    def _write(self, look: Look, marks: Sequence[Mark], boundary: int, started_ns: int, now_ns: int) -> None:
        for mark, lifetime_s in marks:
            if mark > boundary and look.tokens_at(mark) >= self.least:
                self._enliven(look.sight.links[mark], look.lifetime(lifetime_s), started_ns, now_ns)

    def _enliven(self, link: bytes, lifetime_s: int, started_ns: int, from_ns: int, *, dies_ns: int = 0) -> None:
        """An entry was written or read at `started_ns`, and can be read from `from_ns` on."""
        node = self._nodes.get(link)
        if node is None or not lifetime_s or started_ns < node.gone_ns:
            return
        if node.lives is None:
            node.lives = {}
        dies_ns = dies_ns or started_ns + lifetime_s * SECOND
        old = node.lives.get(lifetime_s)
        if old is None or old[1] <= started_ns:
            node.lives[lifetime_s] = [min(from_ns, dies_ns), dies_ns]
        else:
            old[0], old[1] = min(old[0], from_ns), max(old[1], dies_ns)
        node.notable = True

    def _kill(self, link: bytes, at_ns: int) -> None:
        node = self._nodes.get(link)
        if node is None:
            return
        node.gone_ns = max(node.gone_ns, at_ns)
        if node.lives:
            node.lives = {lifetime: life for lifetime, life in node.lives.items() if life[0] > at_ns} or None

    def _fix(self, link: bytes, tokens: int) -> None:
        node = self._nodes.get(link)
        if node is not None:
            node.tokens = tokens
            node.notable = True

    def _tell(self, look: Look, at_ns: int, marks: Sequence[Mark], gone: tuple[bytes, ...], exact: tuple[tuple[bytes, int], ...] = ()) -> None:
        links = look.sight.links
        lives = []
        for link in dict.fromkeys([*[links[mark] for mark, _ in marks], *[links[live.boundary] for live in look.live]]):
            node = self._nodes.get(link)
            if node is not None and node.lives:
                lives += [(link, lifetime_s, begun_ns, dies_ns) for lifetime_s, (begun_ns, dies_ns) in node.lives.items()]
        self.lesson = Lesson(
            scope=self.scope,
            at_ns=at_ns,
            base=links[look.seen] if look.seen >= 0 else b"",
            links=links[look.seen + 1 :],
            generation=look.generation,
            lives=tuple(lives),
            gone=gone,
            exact=exact,
        )
