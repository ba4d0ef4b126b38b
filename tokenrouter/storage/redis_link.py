"""One connection to one Redis or Valkey node that everybody shares: calls leave together, replies come back in the same order.

Everything that is issued in one step of the event loop is one write. Nobody waits longer than a call's limit, connecting included, and
after several failures in a row a breaker opens: calls fail at once until a real script runs again. A command is never sent twice, except
where the server said that it did not run it.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from typing import Final

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from tokenrouter.errors import Unavailable
from tokenrouter.lua import Script, read_script

Arg = bytes | str | int
Reply = bytes | int | list["Reply"] | None

_pack: Callable[[tuple[Arg, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub knows tuples of one only
UNKNOWN_RUN: Final = "?run_id"
"""Stands in commands for a run id that is not known before they are sent."""

_FAILURES: Final = 3
_PROBE_S: Final = 0.25
_BUSY_S: Final = 0.005
_LATEST_S: Final = 1.0
_RUN_ID = re.compile(rb"^run_id:(\S+)", re.MULTILINE)
_SICK = re.compile(r"(?:^|-)(?:BUSY|OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|LOADING) ")
"""Redis 6.2 tells of an error inside a script as `ERR Error running script ...: -READONLY ...`."""


class RedisAway(Unavailable):
    """The shared counters can not be reached; try again."""

    def __init__(self, *, may_have_run: bool) -> None:
        """`may_have_run`: the command was sent, so the server may have done what it was told, or may do so yet."""
        super().__init__()
        self.may_have_run = may_have_run


class RedisRefused(Unavailable):
    """The shared counters could not do what they were told; try again."""

    def __init__(self, said: str) -> None:
        """`said`: by the server, for operators."""
        super().__init__()
        self.said = said


class Call:
    """One command on its way. `script`: what EVALSHA names, sent whole if the server does not know it. `hops`: how often it was sent on."""

    __slots__ = ("args", "deadline", "future", "hops", "last", "script")

    def __init__(self, args: tuple[Arg, ...], script: Script | None, future: "asyncio.Future[Reply]", deadline: float) -> None:
        self.args, self.script, self.future, self.deadline, self.hops = args, script, future, deadline, 0
        self.last = deadline + _LATEST_S

    def say_run_id(self, before: str, run_id: str) -> None:
        """Name another server process, where this command named one."""
        if before and before != run_id:
            self.args = tuple([run_id if arg == before else arg for arg in self.args])


Redirect = Callable[["Link", Call, ResponseError], bool]
"""Take a call that this node has refused because its keys are elsewhere; False: nobody does."""


class Link:
    """The connection to one node. For one event loop.

    name     host and port, for people
    problem  what is wrong, for operators; "" while all is well
    run_id   of the server process that is connected; "" where it does not tell, `UNKNOWN_RUN` before. Commands that name it are sent
             with that of the process which gets them
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        *,
        name: str,
        timeout_s: float,
        most: int,
        changed: Callable[["Link"], None] = lambda _: None,
        redirect: Redirect = lambda *_: False,
        probe_key: Callable[[], bytes] = lambda: b"tr:{probe}:alive",
    ) -> None:
        """`connect`: makes a connection object, without connecting. `changed`: told when the breaker has opened or closed.

        timeout_s  longest wait for a reply, connecting included
        most       calls that may wait at a time; more fail at once
        """
        self._make, self._timeout_s, self._most = connect, timeout_s, most
        self._changed, self._redirect, self._probe_key = changed, redirect, probe_key
        self._probe = read_script("probe")
        self._loop = asyncio.get_running_loop()
        self._connection: AbstractConnection | None = None
        self._queue: list[Call] = []
        self._sent: deque[Call] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._failures = 0
        self._closed = False
        self.open = False
        self.name, self.problem, self.run_id = name, "", UNKNOWN_RUN

    def call(self, args: tuple[Arg, ...], script: Script | None = None, timeout_s: float | None = None) -> "asyncio.Future[Reply]":
        """Issue one command. Raises RedisAway where nothing is sent; the future raises RedisAway, RedisRefused."""
        if self.open or self._closed or len(self._queue) + len(self._sent) >= self._most:
            if not self.open:
                self.problem = self.problem or f"{self.name}: closed, or more than {self._most} calls wait"
            raise RedisAway(may_have_run=False)
        call = Call(args, script, self._loop.create_future(), self._loop.time() + (timeout_s or self._timeout_s))
        self.push(call)
        return call.future

    def push(self, *calls: Call) -> None:
        """Issue calls that are under way already, one right behind the other."""
        if self.open or self._closed:
            for call in calls:
                _fail(call, may_have_run=False)
            return
        self._queue += calls
        if self._flusher is None:
            self._flusher = self._loop.create_task(self._flush())
        deadline = calls[-1].deadline
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)

    async def aclose(self) -> None:
        """Hang up. Whoever waits is told that the server is away."""
        self._closed = True
        tasks = [task for task in (self._flusher, self._reader, self._prober) if task is not None]
        for task in tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._hang_up()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _flush(self) -> None:
        """Send what waits, as one write. Connects first where that is needed.

        It runs in the step of the loop after the one in which it was wanted, so that whatever else that one issues goes along.
        """
        try:
            while self._queue and not self.open:
                connection = self._connection
                if connection is None:
                    async with asyncio.timeout(self._timeout_s):
                        connection = await self._connected()
                    if self.open or self._closed:
                        _abort(connection)
                        break
                    self._start_reading(connection)
                batch = [call for call in self._queue if not call.future.done()]
                self._queue.clear()
                self._sent.extend(batch)
                packed = b"".join([_pack(call.args) for call in batch])
                await connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError, TimeoutError) as error:
            waiting, self._queue = ([], self._queue) if self._connection is not None else (self._queue, [])
            for call in waiting:
                _fail(call, may_have_run=False)
            self._broke(error)
        finally:
            self._flusher = None
            if self._queue and not self.open and not self._closed:
                self._flusher = self._loop.create_task(self._flush())

    async def _connected(self) -> AbstractConnection:
        """A new connection, ready for commands, and whose it is. Raises RedisError, OSError."""
        connection = self._make()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_packed_command(_pack(("INFO", "server")), check_health=False)
            try:
                told = await connection.read_response(disable_decoding=True)
            except ResponseError:  # an access list without INFO: restarts are then seen by missing keys only
                told = b""
        except BaseException:
            _abort(connection)
            raise
        found = _RUN_ID.search(told) if isinstance(told, bytes) else None
        before, self.run_id = self.run_id, found[1].decode() if found else ""
        for call in self._queue:
            call.say_run_id(before, self.run_id)
        return connection

    def _start_reading(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._reader = self._loop.create_task(self._read(connection))

    async def _read(self, connection: AbstractConnection) -> None:
        """Hand every reply to whoever waits for it, in the order in which they asked."""
        sent = self._sent
        try:
            while True:
                try:
                    reply = await connection.read_response(disable_decoding=True)
                except ResponseError as error:
                    self._refused(sent.popleft(), error)
                else:
                    if self.problem:
                        self._failures, self.problem = 0, ""
                    future = sent.popleft().future
                    if not future.done():
                        future.set_result(reply)
        except (RedisError, OSError, IndexError) as error:
            if connection is self._connection:
                self._broke(error)

    def _refused(self, call: Call, error: ResponseError) -> None:
        """The server answered with an error."""
        if call.future.done():
            return
        if isinstance(error, NoScriptError) and call.script is not None:
            call.args, call.script = ("EVAL", call.script.text, *call.args[2:]), None
            self.push(call)
            return
        if self._redirect(self, call, error):
            return
        if is_sick(error):
            _fail(call, may_have_run=False)  # such a command was not executed
            self.failed(str(error))
            return
        self._failures = 0
        self.problem = f"{self.name}: {error}"
        call.future.set_exception(RedisRefused(str(error)))

    def _broke(self, error: BaseException) -> None:
        """The connection is gone, or there is none to be had."""
        idle = self._connection is not None and not self._sent
        self._hang_up()
        if not idle:  # a server may close a connection that nobody uses
            self.failed(str(error) or type(error).__name__)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        self._reader = None
        if connection is not None:
            _abort(connection)
        sent, self._sent = self._sent, deque()
        for call in sent:
            _fail(call, may_have_run=True)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(at, self._expire), at

    def _expire(self) -> None:
        """Tell those who have waited for too long.

        Where this process was too busy to come in time, an answer may lie unread: that is not the server's fault, and whoever waits gets as
        much longer, but not for ever.
        """
        self._timer = None
        now, earliest, late = self._loop.time(), float("inf"), False
        busy = now - self._timer_at
        if busy > _BUSY_S:
            for call in (*self._sent, *self._queue):
                call.deadline = max(call.deadline, min(call.last, now + busy))
        for waiting, sent in ((self._sent, True), (self._queue, False)):
            for call in waiting:
                if call.future.done():
                    continue
                if call.deadline <= now:
                    late = True
                    _fail(call, may_have_run=sent)
                else:
                    earliest = min(earliest, call.deadline)
        if earliest < float("inf"):
            self._set_timer(earliest)
        if late:
            self.failed(f"no answer within {self._timeout_s * 1000:.0f} ms")

    def failed(self, why: str) -> None:
        """Count a failure; several in a row open the breaker."""
        self._failures += 1
        self.problem = f"{self.name}: {why}"
        if self._failures < _FAILURES or self.open or self._closed:
            return
        self.open = True
        self._hang_up()
        queue, self._queue = self._queue, []
        for call in queue:
            _fail(call, may_have_run=False)
        self._prober = self._loop.create_task(self._probe_until_well())
        self._changed(self)

    async def _probe_until_well(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_S)
            try:
                async with asyncio.timeout(self._timeout_s):
                    connection = await self._connected()
                    try:
                        await self._run_probe(connection)
                    except BaseException:
                        _abort(connection)
                        raise
            except (RedisError, OSError, TimeoutError) as error:
                self.problem = f"{self.name}: {str(error) or 'no answer'}"
                continue
            self.open, self.problem, self._failures, self._prober = False, "", 0, None
            self._start_reading(connection)
            self._changed(self)
            return

    async def _run_probe(self, connection: AbstractConnection) -> None:
        """A real script that writes: a server that only answers PING is not well. Raises RedisError."""
        for command in (("EVALSHA", self._probe.sha), ("EVAL", self._probe.text)):
            await connection.send_packed_command(_pack((*command, 1, self._probe_key())), check_health=False)
            try:
                await connection.read_response(disable_decoding=True)
            except NoScriptError:
                continue
            except AskError:  # a node of a cluster that holds nothing of ours: it is well enough to say so
                return
            return


def is_sick(error: ResponseError) -> bool:
    """Whether an error is about the server's state, not about the command."""
    return isinstance(error, OutOfMemoryError | ReadOnlyError | ClusterDownError) or _SICK.search(str(error)) is not None


def _fail(call: Call, *, may_have_run: bool) -> None:
    if not call.future.done():
        call.future.set_exception(RedisAway(may_have_run=may_have_run))


def _abort(connection: AbstractConnection) -> None:
    """Drop a connection with whatever waits to be sent: closing it politely would wait for a server that may never read again."""
    writer = getattr(connection, "_writer", None)  # redis-py has no public way
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()
        connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001
