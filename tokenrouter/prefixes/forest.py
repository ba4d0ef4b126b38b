"""All trees of one process: one per cache scope, within bounds."""

from collections import OrderedDict

from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import CacheScope
from tokenrouter.prefixes.tree import MOST_NODES, Tree

_ALL_NODES = 300_000
_CHECK = 64
_MOST_TREES = 64


class Forest:
    """The trees of one process; the least recently used go where there are too many, or too many nodes in all (about 320 bytes each)."""

    __slots__ = ("_all", "_calls", "_decides", "_most", "_nodes", "_trees")

    def __init__(self, most_trees: int = _MOST_TREES, most_nodes: int = MOST_NODES, all_nodes: int = _ALL_NODES, *, decides: bool = True) -> None:
        """`most_nodes`: of one tree; `all_nodes`: of all, checked now and then; `decides`: see `Tree`."""
        self._decides = decides
        self._trees: OrderedDict[CacheScope, Tree] = OrderedDict()
        self._most, self._nodes, self._all = most_trees, most_nodes, all_nodes
        self._calls = 0

    def of(self, scope: CacheScope, limits: PromptCacheLimits) -> Tree:
        """The tree of a scope, made where there is none. `limits`: of the scope's model, from the catalog."""
        tree = self._trees.get(scope)
        if tree is None:
            tree = self._trees[scope] = Tree(scope, limits, self._nodes, decides=self._decides)
            if len(self._trees) > self._most:
                self._trees.popitem(last=False)
        else:
            self._trees.move_to_end(scope)
            tree.limits = limits
        self._calls += 1
        if self._calls % _CHECK == 0:
            while len(self._trees) > 1 and sum(map(len, self._trees.values())) > self._all:
                self._trees.popitem(last=False)
        return tree

    def __len__(self) -> int:
        return len(self._trees)
