"""Arranger: puts order-free sets in one order. Only tool definitions are a set; messages never move."""

from collections.abc import Sequence

from tokenrouter.model.chunk import Arranged, Chunks


def arrange(chunks: Chunks, *, sort_tools: bool, known: Sequence[str] = ()) -> Arranged:
    """Order the tools (`tools.order`): those that are `known` as they are known, the others by name behind them.

    Tools of one name keep the client's order among themselves.
    """
    tools = chunks.tools
    if not sort_tools or len(tools) < 2:
        return Arranged(chunks, None)
    names = [tool.name for tool in tools]
    if known:
        ranks, behind = {name: rank for rank, name in enumerate(known)}, len(known)
        order = sorted(range(len(names)), key=lambda index: (ranks.get(names[index], behind), names[index]))
    else:
        order = sorted(range(len(names)), key=names.__getitem__)
    return Arranged(chunks, None if order == list(range(len(names))) else tuple(order))
