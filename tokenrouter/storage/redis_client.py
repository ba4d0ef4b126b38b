"""Redis and Valkey, one node or a cluster, behind one client: commands and scripts by key.

    redis://user:password@host:6379/0              one node; rediss:// with TLS, unix:// by a socket
    redis+cluster://user:password@h1:6379,h2:6379  a cluster, found through any of these nodes; rediss+cluster:// with TLS

Timeouts, the breaker and batching are each node's (`redis_link`); this module finds the node.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from tokenrouter.errors import ConfigError
from tokenrouter.lua import Script
from tokenrouter.storage.redis_link import Arg, Call, Link, RedisAway, RedisRefused, Reply

_HOPS: Final = 5
_TRY_AGAIN_S: Final = 0.005
_REFRESH_S: Final = 0.25
_SHAPE: Final = "REDIS_URL can not be read; it looks like redis://user:password@host:6379/0 or redis+cluster://host:6379,host:6379"


class Address(msgspec.Struct, frozen=True):
    """Where the server is: a URL for each node that was named, and whether they are a cluster."""

    nodes: tuple[str, ...]
    cluster: bool


def read_address(url: str) -> Address:
    """Read REDIS_URL. Raises ConfigError, which never shows the address: it may hold a password."""
    try:
        parts = urlsplit(url)
        scheme, _, kind = parts.scheme.partition("+")
        if kind not in ("", "cluster") or scheme not in ("redis", "rediss", "unix") or (scheme == "unix" and kind):
            raise ConfigError(_SHAPE)
        if not kind:
            parse_url(url)
            return Address((url,), cluster=False)
        credentials, at, hosts = parts.netloc.rpartition("@")
        query = f"?{parts.query}" if parts.query else ""
        if parts.path.strip("/") not in ("", "0"):
            raise ConfigError("REDIS_URL names a database, but a cluster has number 0 only: leave the path out")
        nodes = tuple(f"{scheme}://{credentials}{at}{host}{query}" for host in hosts.split(",") if host)
        for node in nodes:
            parse_url(node)
    except ValueError:
        raise ConfigError(_SHAPE) from None
    if not nodes:
        raise ConfigError(_SHAPE)
    return Address(nodes, cluster=True)


class RedisClient:
    """See the module. Opens nothing by itself: the first call connects. For one event loop, made inside it."""

    def __init__(self, url: str, *, timeout_s: float = 0.1, most_waiting: int = 10_000) -> None:
        """`timeout_s`: longest wait for a reply, connecting included. `most_waiting`: calls that may wait for one node; more fail at once.

        Raises:
            ConfigError: the address can not be read.
        """
        address = read_address(url)
        self.cluster = address.cluster
        self._seeds, self._timeout_s, self._most = address.nodes, timeout_s, most_waiting
        self._links: dict[str, Link] = {}
        self._owners: dict[int, str] = {}
        self._holders: frozenset[str] = frozenset()
        self._watchers: list[Callable[[bool], None]] = []
        self._refresher: asyncio.Task[None] | None = None
        self._closed = False
        links = [self._link(_name(node), node) for node in self._seeds]
        self._only = None if self.cluster else links[0]

    @property
    def problem(self) -> str:
        """What is wrong, for operators; "" while all is well."""
        return "; ".join(link.problem for link in self._needed() if link.problem)

    @property
    def away(self) -> bool:
        """Whether a node's breaker is open: calls to it fail at once."""
        return any(link.open for link in self._needed())

    def watch(self, changed: Callable[[bool], None]) -> None:
        """`changed(away)` is called when a breaker has opened (True), or the last open one has closed (False)."""
        self._watchers.append(changed)

    def run_id(self, key: bytes) -> str:
        """Which server process holds a key: another one after a restart or a failover. "" where it does not tell; see `redis_link.Link`."""
        return self._owner(key).run_id

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Arg] = (), *, timeout_s: float | None = None) -> Reply:
        """Run a script on the node of its first key. Raises RedisAway, RedisRefused."""
        return await self.issue(script, keys, args, timeout_s=timeout_s)

    def issue(self, script: Script, keys: Sequence[bytes], args: Sequence[Arg] = (), *, timeout_s: float | None = None) -> "asyncio.Future[Reply]":
        """Like `run`, but issued before this returns: calls about one node run in the order in which they were issued. Raises RedisAway."""
        return self._owner(keys[0]).call(("EVALSHA", script.sha, len(keys), *keys, *args), script, timeout_s)

    async def command(self, key: bytes, *args: Arg, timeout_s: float | None = None) -> Reply:
        """One command that does not block, on the node of a key: `command(key, "GET", key)`. Raises RedisAway, RedisRefused."""
        return await self._owner(key).call(args, None, timeout_s)

    async def aclose(self) -> None:
        """Hang up. Whoever waits is told that the server is away."""
        self._closed = True
        if self._refresher is not None:
            self._refresher.cancel()
        await asyncio.gather(*(link.aclose() for link in self._links.values()))

    def _needed(self) -> list[Link]:
        """The nodes that hold something; all that were named, as long as nobody has said who does."""
        return [link for name, link in self._links.items() if not self._holders or name in self._holders]

    def _owner(self, key: bytes) -> Link:
        """The node that holds a key, as far as is known; any node where it is not, and it will say who does."""
        if self._only is not None:
            return self._only
        name = self._owners.get(key_slot(key))
        if name is not None:
            return self._links[name]
        links = list(self._links.values())
        return next((link for link in links if not link.open), links[0])

    def _link(self, name: str, url: str) -> Link:
        known = self._links.get(name)
        if known is None:
            known = self._links[name] = Link(
                lambda: _connection(url, self._timeout_s),
                name=name,
                timeout_s=self._timeout_s,
                most=self._most,
                changed=self._changed,
                redirect=self._redirect,
                probe_key=lambda: self._probe_key(name),
            )
        return known

    def _changed(self, link: Link) -> None:
        if self.cluster and link.open:
            self._refresh_soon()
        if link.open or not self.away:
            for changed in self._watchers:
                changed(link.open)

    def _probe_key(self, name: str) -> bytes:
        """A key of nobody's that this node holds."""
        for number in range(REDIS_CLUSTER_HASH_SLOTS if self.cluster else 1):
            key = b"tr:{probe-%d}:alive" % number
            if not self.cluster or self._owners.get(key_slot(key)) == name:
                return key
        return b"tr:{probe-0}:alive"  # nobody's: it says where it is, and so that it is well

    def _redirect(self, link: Link, call: Call, error: ResponseError) -> bool:
        """Follow what a node of a cluster says about keys that it does not hold; it has not run the command."""
        if not isinstance(error, AskError | TryAgainError):
            return False
        if not self.cluster:
            call.future.set_exception(RedisAway(may_have_run=False))
            link.failed("the server is part of a cluster; say redis+cluster:// in REDIS_URL")
            return True
        call.hops += 1
        if isinstance(error, TryAgainError):  # its keys are on their way to another node
            asyncio.get_running_loop().call_later(_TRY_AGAIN_S, link.push, call)
            return True
        if call.hops > _HOPS:
            call.future.set_exception(RedisAway(may_have_run=False))
            link.failed(f"sent on {_HOPS} times and still at the wrong node: {error}")
            return True
        name = f"{error.host or link.name.rpartition(':')[0]}:{error.port}"
        target = self._link(name, self._url(name))
        call.say_run_id(link.run_id, target.run_id)
        if isinstance(error, MovedError):
            self._owners[error.slot_id] = name
            self._refresh_soon()
            target.push(call)
        else:
            asking: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            asking.add_done_callback(_ignored)
            target.push(Call(("ASKING",), None, asking, call.deadline), call)
        return True

    def _url(self, name: str) -> str:
        """A node's URL: credentials and options are those of the nodes that were named."""
        parts = urlsplit(self._seeds[0])
        credentials, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{credentials}{at}{name}").geturl()

    def _refresh_soon(self) -> None:
        if self._refresher is None and not self._closed:
            self._refresher = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Ask who holds what, until somebody answers and nobody is away."""
        try:
            while True:
                await self._ask_for_owners()
                await asyncio.sleep(_REFRESH_S)
                if not self.away:
                    return
        finally:
            self._refresher = None

    async def _ask_for_owners(self) -> None:
        for link in list(self._links.values()):
            try:
                told = await link.call(("CLUSTER", "SLOTS"))
            except (RedisAway, RedisRefused):
                continue
            owners = {slot: name for first, last, name in _ranges(told, link.name) for slot in range(first, last + 1)}
            if owners:
                self._owners, self._holders = owners, frozenset(owners.values())
                for name in self._holders:
                    self._link(name, self._url(name))
                await self._forget()
                return

    async def _forget(self) -> None:
        """Nodes that hold nothing any more are hung up on; those that were named in the address stay, to ask them."""
        kept = self._holders | {_name(url) for url in self._seeds}
        for name in [name for name, link in self._links.items() if name not in kept and link.open]:
            await self._links.pop(name).aclose()


def _ranges(told: Reply, answering: str) -> list[tuple[int, int, str]]:
    """Read the reply to CLUSTER SLOTS: (first slot, last slot, its master)."""
    found = []
    for entry in told if isinstance(told, list) else []:
        if isinstance(entry, list) and len(entry) >= 3 and isinstance(master := entry[2], list):
            first, last, host, port = entry[0], entry[1], master[0], master[1]
            if isinstance(first, int) and isinstance(last, int) and isinstance(port, int):
                name = host.decode() if isinstance(host, bytes) and host else answering.rpartition(":")[0]
                found.append((first, last, f"{name}:{port}"))
    return found


def _name(url: str) -> str:
    """Host and port, or the socket's path: never the password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def _connection(url: str, timeout_s: float) -> AbstractConnection:
    options = dict(parse_url(url))
    kind = options.pop("connection_class", Connection)
    options.update(socket_timeout=None, socket_connect_timeout=timeout_s, protocol=2, decode_responses=False)
    made = kind(**options)  # type: ignore[operator]  # a class, by what redis-py says of it
    assert isinstance(made, AbstractConnection)  # noqa: S101  # for the type checker
    return made


def _ignored(future: "asyncio.Future[Reply]") -> None:
    """The reply means nothing, and an error is told by the command that follows."""
    if not future.cancelled():
        future.exception()
