"""The cache plan of one request, once it is known who will answer. The same function plans for the gateway and for `explain`."""

import hashlib

import msgspec

from tokenrouter.model.cache_plan import NO_PLAN, CachePlan
from tokenrouter.model.catalog import Deployment, Model, Target
from tokenrouter.model.chunk import Canonical
from tokenrouter.model.edits import MARKS_PLAN
from tokenrouter.pipeline.cache_injector import plan_cache
from tokenrouter.pipeline.hasher import root_link
from tokenrouter.prefixes.policy import Policy
from tokenrouter.serving.respelling import SplitText


class Planner(msgspec.Struct, frozen=True, kw_only=True):
    """What plans are made with: a policy, and the deployment's secrets for affinity keys that mean nothing to outsiders."""

    policy: Policy
    prefix_seed: int
    affinity_secret: bytes

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
        native: bool = True,
        split: SplitText | None = None,
    ) -> CachePlan:
        """With `marks.plan` off it holds the client's own marks at most; on a native lane these pass as they are.

        own_affinity  the client set a key itself
        native        the request passes as it is
        split         a system text that goes up in two parts: a breakpoint may stand between them

        Raises InvalidRequest: the client's own marks break the vendor's rules, and have to be translated.
        """
        if MARKS_PLAN not in edits:
            return NO_PLAN if native and deployment.mark_field else plan_cache(canonical, model.cache, (), None)
        affinity = None
        has_root = bool(canonical.tools or canonical.opening)  # without one there is nothing that conversations could share
        if (deployment.affinity_field or deployment.affinity_header) and has_root and not own_affinity:
            root = self._root(model, canonical, tenant, split)
            affinity = "tr-" + hashlib.blake2b(root, key=self.affinity_secret, digest_size=16).hexdigest()
        limits = model.cache
        wishes = self.policy.wishes(canonical, limits) if split is None else self.policy.wishes(canonical, limits, split.mark)
        return plan_cache(canonical, limits, wishes, affinity, judged_above=native)

    def _root(self, model: Model, canonical: Canonical, tenant: str, split: SplitText | None) -> bytes:
        """What conversations of one app have in common; of a system text in two parts, the first."""
        if split is not None:
            return split.root
        return root_link(canonical, tenant=tenant, model=f"{model.vendor}/{model.name}", seed=self.prefix_seed)
