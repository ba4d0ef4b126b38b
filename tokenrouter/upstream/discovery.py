"""Hosts that can say which models they have are asked: at start, and again, not too often, when somebody names a model that nobody knows.

Nobody waits long for it. A host that is away keeps what it was known to have.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from tokenrouter.adapters.base import ModelLister
from tokenrouter.catalog.loader import Catalog
from tokenrouter.clock import Clock
from tokenrouter.errors import GatewayError, UpstreamFailed
from tokenrouter.model.catalog import Deployment, Endpoint, Found
from tokenrouter.upstream.credentials import Credentials
from tokenrouter.upstream.transport import Transport

log = logging.getLogger("tokenrouter")

PATIENCE_S = 2.0
"""Longest that a caller waits for a round. The round goes on without it."""

_ROUND_S = 30.0
_AGAIN_NS = 10 * 1_000_000_000
_AFTER_FAILURE_NS = 30 * 1_000_000_000
_AT_ONCE = 4
_JSON = (("content-type", "application/json"),)
_Host = tuple[Deployment, Endpoint, ModelLister]


class Discovery:
    """Keeps the catalog's knowledge of such hosts fresh. One round at a time, however many wait for it."""

    def __init__(
        self,
        catalog: Catalog,
        listers: Mapping[str, ModelLister],
        credentials: Credentials,
        transport: Callable[[Deployment], Transport],
        clock: Clock,
        told: Callable[[list[tuple[str, str]]], None] | None = None,
    ) -> None:
        """`transport`: the way to a deployment. `told`: hears (vendor, model) of what was found."""
        self._catalog, self._credentials, self._transport, self._clock = catalog, credentials, transport, clock
        self._told = told
        self._hosts = [
            (deployment, endpoint, listers[endpoint.wire])
            for row in catalog.deployments.values()
            for deployment in row
            for endpoint in deployment.endpoints
            if endpoint.wire in listers
        ]
        self._lists: dict[str, tuple[Found, ...]] = {}
        self._looked_at: dict[str, frozenset[tuple[str, str]]] = {}
        self._away: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._next_ns = 0

    def begin(self) -> None:
        """Ask without waiting. Simulated hosts are in this process: they are asked when somebody first wants to know."""
        if any(not deployment.sandbox for deployment, _, _ in self._hosts):
            self._start()

    async def refresh(self) -> bool:
        """Ask again, unless that was done a moment ago. Whether a round went by; it may still be under way, if it takes long."""
        if not self._hosts:
            return False
        if self._task is None:
            if self._clock.monotonic_ns() < self._next_ns:
                return False
            self._start()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE_S)
        return True

    async def ask(self, deployment: Deployment, endpoint: Endpoint, path: str, body: bytes = b"", method: str = "GET") -> tuple[int, bytes]:
        """One question about a host's models: its status and body.

        Raises:
            GatewayError: it could not be asked, or did not answer.
        """
        url = endpoint.base_url + path
        headers = await self._credentials.headers(deployment, url, _JSON if body else (), body)
        response = await self._transport(deployment).send(url, headers, body, method)
        try:
            return response.status, await response.read()
        finally:
            await response.aclose()

    def hosts(self, vendor: str | None = None) -> list[tuple[Deployment, Endpoint]]:
        """Those that can be asked; of one vendor, or all."""
        return [(deployment, endpoint) for deployment, endpoint, _ in self._hosts if vendor in (None, deployment.vendor)]

    async def aclose(self) -> None:
        """Let a round under way go."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _start(self) -> None:
        self._task = asyncio.create_task(self._round())

    async def _round(self) -> None:
        """Names first, so that whoever waits for one need not wait for what else there is to know."""
        wait_ns = _AFTER_FAILURE_NS
        try:
            async with asyncio.timeout(_ROUND_S):
                well = await asyncio.gather(*map(self._list, self._hosts))
                self._publish()
                await asyncio.gather(*map(self._look_closer, self._hosts))
                self._publish()
            wait_ns = _AGAIN_NS if all(well) else _AFTER_FAILURE_NS
        except TimeoutError:
            log.warning("asking hosts for their models took longer than %g s; what is known so far stays", _ROUND_S)
        except Exception:
            log.exception("hosts could not be asked for their models; what is known so far stays")
        finally:
            self._next_ns = self._clock.monotonic_ns() + wait_ns
            self._task = None

    async def _list(self, host: _Host) -> bool:
        deployment, endpoint, lister = host
        try:
            found = lister.read_list(await self._good(deployment, endpoint, lister.list_path))
        except GatewayError as error:
            if deployment.name not in self._away:  # said once, not at every round
                self._away.add(deployment.name)
                log.warning("%s could not be asked for its models: %s", deployment.name, error.message)
            return False
        self._away.discard(deployment.name)
        looked_at = self._looked_at.get(deployment.name, frozenset())
        known = {_key(one): one for one in self._lists.get(deployment.name, ()) if _key(one) in looked_at}
        self._lists[deployment.name] = tuple([known.get(_key(one), one) for one in found])
        return True

    async def _look_closer(self, host: _Host) -> None:
        """What was learnt of a model is not asked for again while its digest stays the same."""
        deployment, endpoint, lister = host
        gate = asyncio.Semaphore(_AT_ONCE)
        before = self._looked_at.get(deployment.name, frozenset())
        looked_at: set[tuple[str, str]] = set()

        async def told(found: Found) -> Found:
            if _key(found) not in before:
                async with gate:
                    try:
                        said = await self._good(deployment, endpoint, lister.show_path, lister.show_request(found.name), "POST")
                        found = lister.with_facts(found, said)
                    except GatewayError as error:
                        log.debug("%s told nothing of %r: %s", deployment.name, found.name, error.message)
                        return found
            if found.digest:
                looked_at.add(_key(found))
            return found

        if deployment.name not in self._away:
            self._lists[deployment.name] = tuple(await asyncio.gather(*map(told, self._lists[deployment.name])))
            self._looked_at[deployment.name] = frozenset(looked_at)

    async def _good(self, deployment: Deployment, endpoint: Endpoint, path: str, body: bytes = b"", method: str = "GET") -> bytes:
        status, said = await self.ask(deployment, endpoint, path, body, method)
        if status != 200:
            raise UpstreamFailed(f"{path} answered with status {status}")
        return said

    def _publish(self) -> None:
        """Several hosts of one vendor count as one."""
        by_vendor: dict[str, dict[str, Found]] = {}
        for deployment, _, _ in self._hosts:
            models = by_vendor.setdefault(deployment.vendor, {})
            for found in self._lists.get(deployment.name, ()):
                models.setdefault(found.name, found)
        for vendor, models in by_vendor.items():
            self._catalog.discover(vendor, tuple(models.values()))
            if self._told is not None:
                self._told([(vendor, name) for name in models])


def _key(found: Found) -> tuple[str, str]:
    return found.name, found.digest
