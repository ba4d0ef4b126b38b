"""Tools that OpenAI runs itself, by what it bills for them beside tokens.

Source: https://developers.openai.com/api/docs/pricing, "Built-in tools" (2026-11): a web search is USD 10.00 per 1,000 calls. What other
tools come to depends on more than their number (storage, containers, pictures, somebody else's server), so they have no fee here.
"""

from collections.abc import Mapping
from typing import Final

from tokenrouter.adapters.wire.reading import members, text

SEARCH_FEE: Final = 10_000_000
"""Nano-USD for one web search."""

UNKNOWN_FEE: Final = -1

_SEARCHES = frozenset(("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"))
_FREE = frozenset(("function", "custom", "namespace", "local_shell", "apply_patch", "tool_search"))
"""Run by the client, or billed by tokens alone."""


def fee_of(tool: Mapping[str, object]) -> int:
    """Nano-USD for one use of a tool, -1 where it is not known. A kind that is not known here is taken for the dearer case."""
    kind = text(tool.get("type"))
    if kind in _SEARCHES:
        return SEARCH_FEE
    if kind == "namespace":
        return dearest(tool.get("tools"))
    if kind == "shell":
        return 0 if text(members(tool.get("environment")).get("type")) in ("", "local") else UNKNOWN_FEE
    return 0 if kind in _FREE else UNKNOWN_FEE


def dearest(tools: object) -> int:
    """The highest fee of a list of tools; -1 where one of them is not known."""
    fees = [fee_of(members(tool)) for tool in tools] if isinstance(tools, list) else []
    return UNKNOWN_FEE if UNKNOWN_FEE in fees else max(fees, default=0)


def fees_in(output: object) -> int:
    """Nano-USD for the uses that an answer's items tell of. Opening a page and looking through it is no search."""
    searches = 0
    for value in output if isinstance(output, list) else []:
        item = members(value)
        if text(item.get("type")) == "web_search_call":
            searches += text(members(item.get("action")).get("type")) in ("", "search")
    return searches * SEARCH_FEE
