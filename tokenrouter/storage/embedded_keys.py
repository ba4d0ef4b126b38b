"""API keys in state.db, all of them in memory: a key is checked without asking anybody.

A key is `sk-tr-<id>-<secret>`: the id finds the row, and the keyed BLAKE2b of the whole key under the deployment's secret is
compared in constant time. A fast hash is right for 256 random bits. Nothing is kept from which a key could be rebuilt.
"""

import hmac
import re
import secrets
import threading
from hashlib import blake2b
from pathlib import Path
from typing import cast

import msgspec

from tokenrouter.clock import Clock
from tokenrouter.model.principal import Principal, ShareMode
from tokenrouter.money import NanoUSD
from tokenrouter.sql import read_queries
from tokenrouter.storage.sqlite import open_state

PREFIX = "sk-tr-"
ADMIN_PREFIX = "sk-tr-admin-"
_NO_DIGEST = bytes(32)
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,100}")
_MOST_RPM = 1_000_000
_MOST_QUOTA = 1 << 62  # nano-USD in a signed 64-bit column, with room for sums


class KeyOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key may and how it is treated; see `Principal`."""

    models: tuple[str, ...] = ()
    dedup_mode: ShareMode | None = None
    cache_mode: ShareMode | None = None
    edits_off: tuple[str, ...] = ()


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept; the secret itself is not."""

    principal: Principal
    digest: bytes
    created_ns: int
    revoked_ns: int | None = None


class EmbeddedKeys:
    """The keys of this deployment. Changes by another process (the command line) are seen by `refresh`."""

    def __init__(self, folder: Path, secret: bytes, clock: Clock) -> None:
        self._secret, self._clock = secret, clock
        self._sql = read_queries("state_queries.sql")
        self._db = open_state(folder / "state.db", across_threads=True)
        self._lock = threading.Lock()  # admin calls and the refresh may come from different threads
        self._keys: dict[str, StoredKey] = {}
        self._revision: str | None = None
        self._admin = _NO_DIGEST
        self.refresh()

    def refresh(self) -> None:
        """Read again if somebody has changed a key. One look-up where nobody has."""
        with self._lock:
            row = self._db.execute(self._sql["read_meta"], ("keys_revision",)).fetchone()
            revision = row[0] if row else ""
            if revision != self._revision:
                self._load()
                self._revision = revision

    def _load(self) -> None:
        self._keys = {row[0]: _stored(row) for row in self._db.execute(self._sql["all_keys"])}
        admin = self._db.execute(self._sql["read_meta"], ("admin_key_digest",)).fetchone()
        self._admin = bytes.fromhex(admin[0]) if admin else _NO_DIGEST

    def principal(self, presented: str) -> Principal | None:
        """Who presents this key; None for nobody we know, a revoked one included."""
        key_id = presented[len(PREFIX) :].partition("-")[0] if presented.startswith(PREFIX) else ""
        stored = self._keys.get(key_id)
        known = hmac.compare_digest(self._digest(presented), stored.digest if stored else _NO_DIGEST)
        return stored.principal if known and stored is not None and stored.revoked_ns is None else None

    def is_admin(self, presented: str) -> bool:
        """Whether this is the admin key that was minted."""
        return self._admin != _NO_DIGEST and hmac.compare_digest(self._digest(presented), self._admin)

    def _digest(self, key: str) -> bytes:
        return blake2b(key.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=32).digest()

    def create(
        self, *, tenant: str, name: str = "", quota: NanoUSD | None = None, rpm: int = 0, options: KeyOptions | None = None
    ) -> tuple[str, StoredKey]:
        """Mint a key: returned once, in clear, beside what is kept of it. Raises ValueError for what can not be kept."""
        if not _TENANT.fullmatch(tenant):
            raise ValueError("a tenant is 1 to 100 letters, digits, dots, dashes and underscores")
        if not 0 <= rpm <= _MOST_RPM:
            raise ValueError(f"requests per minute: a whole number from 0 to {_MOST_RPM}")
        if quota is not None and not 0 <= quota < _MOST_QUOTA:
            raise ValueError("the quota is more than a ledger can hold")
        key_id = secrets.token_hex(6)
        key = f"{PREFIX}{key_id}-{secrets.token_urlsafe(32)}"
        now = self._clock.time_ns()
        chosen = options or KeyOptions()
        row = (key_id, self._digest(key), tenant, name, quota, rpm, msgspec.json.encode(chosen).decode(), now)
        with self._lock:
            self._db.execute(self._sql["insert_key"], row)
            self._db.execute(self._sql["bump_keys_revision"])
            self._load()
        return key, self._keys[key_id]

    def revoke(self, key_id: str) -> bool:
        """Make a key invalid for good. False: there is no such valid key."""
        with self._lock:
            changed = self._db.execute(self._sql["revoke_key"], (self._clock.time_ns(), key_id)).rowcount
            self._db.execute(self._sql["bump_keys_revision"])
            self._load()
        return changed == 1

    def all(self) -> list[StoredKey]:
        """Every key, oldest first, revoked ones included."""
        return list(self._keys.values())

    def get(self, key_id: str) -> StoredKey | None:
        """One key by its public id."""
        return self._keys.get(key_id)

    def mint_admin(self) -> str | None:
        """Mint the admin key on first use; None where there is one already."""
        with self._lock:
            if self._admin != _NO_DIGEST:
                return None
            key = ADMIN_PREFIX + secrets.token_urlsafe(32)
            self._db.execute(self._sql["write_meta"], ("admin_key_digest", self._digest(key).hex()))
            self._db.execute(self._sql["bump_keys_revision"])
            self._load()
        return key

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _stored(row: tuple[object, ...]) -> StoredKey:
    key_id, digest, tenant, name, quota, rpm, options, created_ns, revoked_ns = row
    chosen = msgspec.json.decode(cast("str", options), type=KeyOptions)
    principal = Principal(
        key_id=cast("str", key_id),
        tenant=cast("str", tenant),
        name=cast("str", name),
        quota=cast("int | None", quota),
        rpm=cast("int", rpm),
        models=chosen.models,
        dedup_mode=chosen.dedup_mode,
        cache_mode=chosen.cache_mode,
        edits_off=chosen.edits_off,
    )
    return StoredKey(principal=principal, digest=cast("bytes", digest), created_ns=cast("int", created_ns), revoked_ns=cast("int | None", revoked_ns))
