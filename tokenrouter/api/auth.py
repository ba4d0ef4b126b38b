"""Who calls. Keys are accepted as the dialects send them: bearer, `x-api-key`, `api-key`, `x-goog-api-key`, or `?key=`."""

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs

from tokenrouter.errors import Unauthenticated
from tokenrouter.model.principal import Principal
from tokenrouter.storage.directory import UNKNOWN, Directory


def presented_key(headers: Mapping[str, str], query: bytes = b"") -> str:
    """The credential in the request; "" where there is none."""
    authorization = headers.get("authorization", "")
    if authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    for name in ("x-api-key", "x-goog-api-key", "api-key"):
        if found := headers.get(name, "").strip():
            return found
    return parse_qs(query.decode("latin-1")).get("key", [""])[0].strip() if b"key=" in query else ""


async def authenticate(headers: Mapping[str, str], keys: Directory, query: bytes = b"") -> Principal:
    """The caller. Waits only where nothing is remembered of the key.

    Raises:
        Unauthenticated: in the same words for keys that are unknown, revoked, expired or resting.
        Unavailable: nobody can say.
    """
    presented = presented_key(headers, query)
    if not presented:
        raise Unauthenticated("no API key: send it as `Authorization: Bearer sk-tr-…`")
    principal = keys.at_hand(presented)
    if principal is UNKNOWN:
        principal = await keys.look_up(presented)
    if principal is None:
        raise Unauthenticated("this API key is not valid here (keys of this gateway start with sk-tr-)")
    return principal


def is_admin(headers: Mapping[str, str], keys: Directory, configured: str) -> bool:
    """Whether the admin credential was presented. One from the environment wins over the minted one. Raises Unavailable where nobody can say."""
    presented = presented_key(headers)
    if not presented:
        return False
    if configured:
        return hmac.compare_digest(presented.encode(), configured.encode())
    return keys.is_admin(presented)
