"""Who calls: keys and customers, remembered, so that a request on the hot path asks nobody.

Everything remembered is asked for again when it is older than `ttl_s`, or when the revision in `meta`, looked at every two seconds, has
moved on: a key that was revoked anywhere is refused everywhere within five seconds. While the database can not be asked, what is
remembered goes on being used, whatever its age, and `problem` says so.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.directory import Customer, StoredKey
from tokenrouter.model.principal import Principal
from tokenrouter.model.rules import is_plain
from tokenrouter.storage.database import Database
from tokenrouter.storage.keyring import NO_DIGEST, KeyRing
from tokenrouter.storage.register import ADMIN_DIGEST, CUSTOMERS_REVISION, KEYS_REVISION, Register

_MOST_KEYS, _MOST_CUSTOMERS = 50_000, 100_000
_ADMIN_COPY = "admin"
_NO_ID = "-" * 20
"""As long as an id, and nobody's."""

T = TypeVar("T")


class Unknown(Enum):
    """Nothing is remembered; somebody has to be asked."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


class Mirror(Protocol):
    """A place beside the database that has copies, for processes that start while the database is away. Raises Unavailable."""

    async def get(self, key: str) -> bytes | None:
        """The copy of this name."""
        ...

    async def put(self, key: str, document: bytes) -> None:
        """Keep a copy; b"": forget it."""
        ...


class _Entry(Generic[T]):
    """What is remembered under a name. `document`: `found` as JSON, by which it is seen that nothing has changed."""

    __slots__ = ("document", "found", "loaded_ns", "revision")

    def __init__(self, found: T | None, document: bytes, revision: str, loaded_ns: int) -> None:
        self.found, self.document, self.revision, self.loaded_ns = found, document, revision, loaded_ns


class _Memory(Generic[T]):
    """Entries, the least recently used leave first. One look-up at a time for each name, whoever asks for it."""

    def __init__(self, kind: type[T], most: int) -> None:
        self.revision = ""
        self.entries: OrderedDict[str, _Entry[T]] = OrderedDict()
        self.under_way: dict[str, asyncio.Task[_Entry[T]]] = {}
        self.kind, self._most = kind, most

    def remember(self, name: str, found: T | None, revision: str, now_ns: int) -> _Entry[T]:
        """Put in what was found. The same object stays while it is the same document: others tell by it that nothing has changed."""
        document = msgspec.json.encode(found)
        entry = self.entries.get(name)
        if entry is not None and entry.document == document:
            entry.revision, entry.loaded_ns = revision, now_ns
        else:
            entry = self.entries[name] = _Entry(found, document, revision, now_ns)
        self.entries.move_to_end(name)
        if len(self.entries) > self._most:
            self.entries.popitem(last=False)
        return entry

    def landed(self, name: str, task: "asyncio.Task[_Entry[T]]") -> None:
        """A look-up has ended."""
        del self.under_way[name]
        if not task.cancelled():
            task.exception()  # looked at: whoever waited may be gone

    def copy_name(self, name: str) -> str:
        """What the copy of an entry is called."""
        return f"{self.kind.__name__}:{name}"


class Directory(Register):
    """The register with a memory."""

    def __init__(self, database: Database, ring: KeyRing, clock: Clock, *, ttl_s: float = 60, mirror: Mirror | None = None) -> None:
        """`ttl_s`: how long what is remembered is believed; 0: not at all."""
        super().__init__(database, ring, clock)
        self._ttl_ns = round(ttl_s * 1e9)
        self._mirror = mirror
        self._keys, self._customers = _Memory(StoredKey, _MOST_KEYS), _Memory(Customer, _MOST_CUSTOMERS)
        self._proved: dict[bytes, tuple[str, _Entry[StoredKey]]] = {}
        self._admin: bytes | None = None
        self._asked_ns = clock.monotonic_ns()
        nobody = Principal(key_id=_NO_ID, tenant="")
        self._nobody = StoredKey(principal=nobody, digest=secrets.token_bytes(32), created_ns=0, revoked_ns=0)

    @property
    def problem(self) -> str:
        """Why what is said here may be old; "" while it is not."""
        if not self._database.problem:
            return ""
        return f"keys are as they were {(self._clock.monotonic_ns() - self._asked_ns) // 10**9} s ago: {self._database.problem}"

    async def refresh(self) -> bool:
        """See whether anybody has changed anything. False: the database can not be asked; all stays as it is known."""
        try:
            meta = {str(name): str(value) for name, value in await self._database.rows("read_revisions")}
        except Unavailable:
            if self._admin is None:
                self._admin = await self._copy(_ADMIN_COPY)
            return False
        self._asked_ns = self._clock.monotonic_ns()
        self._keys.revision, self._customers.revision = meta.get(KEYS_REVISION, ""), meta.get(CUSTOMERS_REVISION, "")
        self._keys.remember(_NO_ID, self._nobody, self._keys.revision, self._asked_ns)
        admin = bytes.fromhex(meta.get(ADMIN_DIGEST, "")) or NO_DIGEST
        if admin != self._admin:
            self._admin = admin
            await self._put_copy(_ADMIN_COPY, admin)
        return True

    def at_hand(self, presented: str) -> Principal | Unknown | None:
        """Who presents this key, as far as it is remembered; None for nobody we know.

        A key that was right before is known again by its digest alone. An id that nobody here has made is looked at like any other, in the
        place of a key that has no secret: the same steps, so that the time they take tells nothing.
        """
        proof = self._ring.digest(presented)
        proved = self._proved.get(proof)
        if proved is not None and self._keys.entries.get(proved[0]) is proved[1] and self._believed(self._keys, proved[1]):
            stored = proved[1].found
            if stored is not None and stored.valid(self._clock.time_ns()):
                return stored.principal
        named = self._ring.public_id(presented) or _NO_ID
        key_id = named[:10] + named[10:]  # both are strings whose hash nobody knows yet
        entry = self._keys.entries.get(key_id)
        if entry is None or not self._believed(self._keys, entry):
            return UNKNOWN
        self._keys.entries.move_to_end(key_id)
        holder = self._holder(entry.found, presented)
        if holder is not None and entry.found is not None and entry.found.digest == proof:  # not the one before a rotation, which ends
            if len(self._proved) >= _MOST_KEYS:
                self._proved.clear()
            self._proved[proof] = (key_id, entry)
        return holder

    async def look_up(self, presented: str) -> Principal | None:
        """Who presents this key; None for nobody we know. Raises Unavailable where nobody can say."""
        key_id = self._ring.public_id(presented)
        stored = (await self._asked(self._keys, key_id, lambda: self.get(key_id))).found if key_id else self._nobody
        return self._holder(stored, presented)

    def _holder(self, stored: StoredKey | None, presented: str) -> Principal | None:
        digests = (NO_DIGEST, NO_DIGEST) if stored is None else (stored.digest, stored.old_digest)
        right, before = self._ring.matches(presented, *digests)
        if stored is None or not (right or before):
            return None
        now = self._clock.time_ns()
        return stored.principal if (right or now < stored.old_until_ns) and stored.valid(now) else None

    def customer(self, tenant: str, customer: str) -> Customer | Unknown | None:
        """What is remembered of a customer; None: it is not registered and has no rules of its own."""
        if not is_plain(customer):
            return None
        name = f"{tenant}/{customer}"
        entry = self._customers.entries.get(name)
        if entry is None or not self._believed(self._customers, entry):
            return UNKNOWN
        self._customers.entries.move_to_end(name)
        return entry.found

    async def look_up_customer(self, tenant: str, customer: str) -> Customer | None:
        """See `customer`. Raises Unavailable where nobody can say."""
        if not is_plain(customer):
            return None
        return (await self._asked(self._customers, f"{tenant}/{customer}", lambda: self.get_customer(tenant, customer))).found

    def is_admin(self, presented: str) -> bool:
        """Whether this is the admin key that was minted. Raises Unavailable where nobody could say so far."""
        if self._admin is None:
            raise Unavailable("the database can not be asked at the moment; try again", headers=(("retry-after", "1"),))
        right, _ = self._ring.matches(presented, self._admin, NO_DIGEST)
        return right

    def _believed(self, memory: _Memory[T], entry: _Entry[T]) -> bool:
        aged = self._clock.monotonic_ns() - entry.loaded_ns >= self._ttl_ns
        return bool(self._database.problem) or not (aged or entry.revision != memory.revision)

    async def _asked(self, memory: _Memory[T], name: str, load: Callable[[], Awaitable[T | None]]) -> _Entry[T]:
        """Ask the database, together with everybody else who asks for this name at the moment."""
        if self._database.inline:
            return await self._loaded(memory, name, load)
        task = memory.under_way.get(name)
        if task is None:
            task = memory.under_way[name] = asyncio.ensure_future(self._loaded(memory, name, load))
            task.add_done_callback(partial(memory.landed, name))
        return await asyncio.shield(task)

    async def _loaded(self, memory: _Memory[T], name: str, load: Callable[[], Awaitable[T | None]]) -> _Entry[T]:
        revision = memory.revision  # as it was before the question: what changes while it is answered makes the answer old
        try:
            found = await load()
        except Unavailable:
            entry = memory.entries.get(name) or await self._copied(memory, name)
            if entry is None:
                raise
            return entry
        entry = memory.remember(name, found, revision, self._clock.monotonic_ns())
        await self._put_copy(memory.copy_name(name), entry.document)
        return entry

    async def _copied(self, memory: _Memory[T], name: str) -> _Entry[T] | None:
        """What the copy beside the database says. The database is asked again as soon as it can be."""
        document = await self._copy(memory.copy_name(name))
        if document is None:
            return None
        found = None if document == b"null" else msgspec.json.decode(document, type=memory.kind)
        return memory.remember(name, found, "copy", self._clock.monotonic_ns())

    async def _copy(self, name: str) -> bytes | None:
        sealed = await self._mirror.get(name) if self._mirror is not None else None
        return self._ring.unsealed(name, sealed) if sealed else None

    async def _put_copy(self, name: str, document: bytes) -> None:
        if self._mirror is not None:
            with suppress(Unavailable):  # without the copy nothing is lost but a start while the database is away
                await self._mirror.put(name, self._ring.sealed(name, document) if document else b"")

    async def _key_changed(self, key_id: str) -> None:
        await self._changed(self._keys, key_id)

    async def _customer_changed(self, tenant: str, customer: str) -> None:
        await self._changed(self._customers, f"{tenant}/{customer}")

    async def _admin_changed(self) -> None:
        await self.refresh()

    async def _changed(self, memory: _Memory[T], name: str) -> None:
        """Here it is known at once; elsewhere by the revision."""
        if (entry := memory.entries.get(name)) is not None:
            entry.revision = "changed"
        await self._put_copy(memory.copy_name(name), b"")

    async def aclose(self) -> None:
        """Let go of the database."""
        await self._database.aclose()
