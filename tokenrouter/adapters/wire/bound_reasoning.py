"""How vendors refuse reasoning that was made under another prompt than the one that it comes back with.

Source: https://platform.claude.com/docs/en/build-with-claude/preserved-thinking.
"""

import re

_REFUSED = re.compile(r"thinking` block is bound to a different|(?:prefix|organization)_binding_mismatch")


def says_bound(message: str) -> bool:
    """Whether a vendor's words about a refused request say so."""
    return _REFUSED.search(message) is not None
