"""Labels: request headers under which a caller wants to find its requests in the ledger again.

`X-TokenRouter-Team: search` is the label `team` with the value `search`; `X-LLM0-Team` is read alike. What the gateway reads for itself
under that prefix is no label.
"""

import re
from collections.abc import Iterable

from tokenrouter.errors import InvalidRequest

_PREFIXES = (b"x-tokenrouter-", b"x-llm0-")
_NAME = re.compile(rb"[a-z0-9][a-z0-9_.-]{0,63}")
_RESERVED = frozenset((b"now", b"cache-break"))
_MOST = 16
_LONGEST = 256
_LONGEST_CUSTOMER = 128


def read_labels(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """The labels among the request headers (names in lower case), sorted by name; the first of a name counts. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for name, value in headers:
        if not name.startswith(_PREFIXES):
            continue
        label = name.partition(b"-")[2].partition(b"-")[2]
        if label in _RESERVED:
            continue
        if _NAME.fullmatch(label) is None or len(value) > _LONGEST:
            shown = name[:80].decode("latin-1")
            raise InvalidRequest(f"{shown} is a label: a name of at most 64 letters, digits and -_. and {_LONGEST} bytes of text", param=shown)
        found.setdefault(label.decode(), value.decode("utf-8", "replace").strip())
        if len(found) > _MOST:
            raise InvalidRequest(f"a request has {_MOST} labels (X-TokenRouter-…) at most")
    return tuple(sorted(found.items()))


def read_customer(value: str) -> str:
    """The customer named by a header or a user field. Raises InvalidRequest."""
    customer = value.strip()
    if len(customer) > _LONGEST_CUSTOMER or not customer.isprintable():
        raise InvalidRequest(f"X-Customer-ID has at most {_LONGEST_CUSTOMER} printable characters", param="x-customer-id")
    return customer
