"""The cache plan of one request, once it is known who will answer. The same function plans for the gateway and for `explain`."""

import hashlib
from collections.abc import Sequence

import msgspec

from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan, Writing
from tokenrouter.model.catalog import Deployment, Model, Target
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import MARKS_PLAN
from tokenrouter.pipeline.cache_injector import plan_cache
from tokenrouter.pipeline.hasher import root_link
from tokenrouter.prefixes.affinity import Shards
from tokenrouter.serving.respelling import SplitText


class Planner(msgspec.Struct, frozen=True, kw_only=True):
    """What plans are made with: the deployment's secrets, for affinity keys that mean nothing to outsiders.

    shards  spreads the conversations of a hot root over several keys; None: each root has one
    """

    prefix_seed: int
    affinity_secret: bytes
    shards: Shards | None = None

    def has_key(self, canonical: Canonical, deployment: Deployment, edits: frozenset[str]) -> bool:
        """Whether an affinity key of ours would go along: without a root there is nothing that conversations could share."""
        takes_one = bool(deployment.affinity_field or deployment.affinity_header)
        return MARKS_PLAN in edits and takes_one and bool(canonical.tools or canonical.opening)

    def account(self, target: Target, canonical: Canonical, *, tenant: str, split: SplitText | None = None) -> Deployment:
        """Which of a host's accounts is asked: always the same for one root, because prompt caches belong to accounts."""
        if len(target.deployments) == 1:
            return target.deployments[0]
        root = self._root(target.model, canonical, tenant, split)
        return max(target.deployments, key=lambda deployment: hashlib.blake2b(root + deployment.name.encode(), digest_size=8).digest())

    def plan(
        self,
        canonical: Canonical,
        model: Model,
        deployment: Deployment,
        edits: frozenset[str],
        *,
        tenant: str,
        own_affinity: bool,
        wishes: Sequence[Breakpoint] = (),
        writing: Writing = "",
        native: bool = True,
        split: SplitText | None = None,
        session: bytes = b"",
        now_ns: int = 0,
    ) -> CachePlan:
        """With `marks.plan` off it holds the client's own marks at most; on a native lane these pass as they are.

        own_affinity  the client set a key itself
        wishes        where breakpoints would pay, most wanted first
        writing       as in `CachePlan`
        native        the request passes as it is
        split         a system text that goes up in two parts: a breakpoint may stand between them
        session       which conversation, for the key of a hot root
        now_ns        when

        Raises InvalidRequest: the client's own marks break the vendor's rules, and have to be translated.
        """
        if MARKS_PLAN not in edits:
            return NO_PLAN if native and deployment.mark_field else plan_cache(canonical, model.cache, (), None)
        affinity = None
        if not own_affinity and self.has_key(canonical, deployment, edits):
            root = self._root(model, canonical, tenant, split)
            routes = model.cache.style != "breakpoints"  # there a key only keeps prompt caches apart
            shard = self.shards.shard(root, session, now_ns) if self.shards is not None and routes else 0
            named = root + b"%d" % shard if shard else root
            affinity = "tr-" + hashlib.blake2b(named, key=self.affinity_secret, digest_size=16).hexdigest()
        limits = model.cache
        return plan_cache(canonical, limits, wishes, affinity, judged_above=native, writing=writing)

    def _root(self, model: Model, canonical: Canonical, tenant: str, split: SplitText | None) -> bytes:
        """What conversations of one app have in common; of a system text in two parts, the first."""
        if split is not None:
            return split.root
        return root_link(canonical, tenant=tenant, model=f"{model.vendor}/{model.name}", seed=self.prefix_seed)
