"""Tools that Anthropic runs itself, by what it bills for them beside tokens.

Source: https://platform.claude.com/docs/en/about-claude/pricing, "Specific tool pricing" (2026-11): a web search is USD 10.00 per 1,000
searches, failed ones are free, and usage tells their number (`server_tool_use.web_search_requests`); fetching pages and searching among tools
costs tokens alone. Running code is billed by the hour of a container, which no answer tells.
"""

from collections.abc import Mapping
from typing import Final

from tokenrouter.adapters.wire.reading import count, members

SEARCH_FEE: Final = 10_000_000
"""Nano-USD for one web search."""

_SEARCH = "web_search_"
_FREE = ("web_fetch_", "tool_search_tool_", "mcp_toolset")


def fee_of(kind: str) -> int | None:
    """Nano-USD for one use of a tool of this type; None where it is not known."""
    if kind.startswith(_SEARCH):
        return SEARCH_FEE
    return 0 if kind.startswith(_FREE) else None


def fees_in(usage: Mapping[str, object]) -> int:
    """Nano-USD for the uses that a decoded `usage` object tells of."""
    return (count(members(usage.get("server_tool_use")).get("web_search_requests")) or 0) * SEARCH_FEE
