"""API keys as text: made, recognised, and turned into what is kept of them.

A key is `sk-tr-<id>-<secret>`. The id is public and finds the row: six random bytes, and a keyed checksum of them, so that an id which
nobody here has made is known as such without asking a database. The keyed BLAKE2b of the whole key under the deployment's secret is what
is kept, and compared in constant time; a fast hash is right for 256 random bits. Nothing is kept from which a key could be rebuilt.
"""

import hmac
import secrets
from hashlib import blake2b

PREFIX = "sk-tr-"
ADMIN_PREFIX = "sk-tr-admin-"
NO_DIGEST = bytes(32)
"""What is compared with where there is nothing to compare with. No key that anybody could find has this digest."""

_RANDOM, _CHECK = 6, 4
_PERSON = b"tr key id"


class KeyRing:
    """What the deployment's secret can do. `secret`: a key of its own for this purpose, derived from it."""

    def __init__(self, secret: bytes, *, old_ids: bool = False) -> None:
        """`old_ids`: ids without a checksum are let through too; they were made before there was one."""
        self._secret, self._old_ids = secret, old_ids

    def mint(self, key_id: str = "") -> tuple[str, str, bytes]:
        """A fresh key, of a fresh id unless one is given: id, the key in clear, its digest."""
        if not key_id:
            head = secrets.token_bytes(_RANDOM)
            key_id = (head + self._check(head)).hex()
        key = f"{PREFIX}{key_id}-{secrets.token_urlsafe(32)}"
        return key_id, key, self.digest(key)

    def mint_admin(self) -> tuple[str, bytes]:
        """A fresh admin key in clear, and its digest."""
        key = ADMIN_PREFIX + secrets.token_urlsafe(32)
        return key, self.digest(key)

    def public_id(self, presented: str) -> str:
        """The id in what somebody presents; "" if nobody here has made it. The same work for everything presented."""
        key_id = presented[len(PREFIX) :].partition("-")[0] if presented.startswith(PREFIX) else ""
        try:
            raw = bytes.fromhex(key_id)
        except ValueError:
            raw = b""
        head, check = raw[:_RANDOM], raw[_RANDOM:]
        genuine = hmac.compare_digest(self._check(head), check or bytes(_CHECK))
        genuine |= self._old_ids and len(raw) == _RANDOM
        exact = raw.hex() == key_id
        return key_id if genuine and exact else ""

    def _check(self, head: bytes) -> bytes:
        return blake2b(head, key=self._secret, person=_PERSON, digest_size=_CHECK).digest()

    def digest(self, key: str) -> bytes:
        """What is kept of a key."""
        return blake2b(key.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=32).digest()

    def matches(self, presented: str, digest: bytes, old_digest: bytes) -> tuple[bool, bool]:
        """Whether it is the key of this digest, and of the one before. Always one digest and two comparisons, whatever they are."""
        made = self.digest(presented)
        now, before = hmac.compare_digest(made, digest or NO_DIGEST), hmac.compare_digest(made, old_digest or NO_DIGEST)
        return now, before

    def sealed(self, name: str, document: bytes) -> bytes:
        """A document for a place that others may write to, with a seal that only this deployment can make, for this name only."""
        return self._seal(name, document) + document

    def unsealed(self, name: str, sealed: bytes) -> bytes | None:
        """The document under the seal; None if it was not made here, or for another name."""
        seal, document = sealed[:16], sealed[16:]
        return document if hmac.compare_digest(seal, self._seal(name, document)) else None

    def _seal(self, name: str, document: bytes) -> bytes:
        named = name.encode("utf-8", "surrogatepass")
        return blake2b(len(named).to_bytes(4, "big") + named + document, key=self._secret, person=b"tr copy", digest_size=16).digest()
