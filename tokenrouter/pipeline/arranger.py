"""Arranger: puts order-free sets in one order. Only tool definitions are a set; messages never move."""

from tokenrouter.model.chunk import Arranged, Chunks


def arrange(chunks: Chunks, *, sort_tools: bool) -> Arranged:
    """Sort the tools by name (`tools.order`); tools of one name keep the client's order among themselves."""
    tools = chunks.tools
    if not sort_tools or len(tools) < 2:
        return Arranged(chunks, None)
    names = [tool.name for tool in tools]
    order = sorted(range(len(names)), key=names.__getitem__)
    return Arranged(chunks, None if order == list(range(len(names))) else tuple(order))
