"""A small closed-loop HTTP/1.1 client: `connections` keep-alive connections, each sending its next request when the last is answered."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Result:
    """What the client saw. Latencies in seconds; `chunks` counts pieces of streamed bodies."""

    requests: int = 0
    errors: int = 0
    first_error: bytes = b""
    seconds: float = 0.0
    chunks: int = 0
    latencies: list[float] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        """A latency quantile in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


async def run(host: str, port: int, requests: Iterator[bytes], connections: int, good: Callable[[bytes], bool]) -> Result:
    """Send every request that `requests` yields. `good` judges the first bytes of a response."""
    result = Result()
    started = time.perf_counter()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
        try:
            for request in requests:
                before = time.perf_counter()
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                result.chunks += await _drain(reader, head)
                result.latencies.append(time.perf_counter() - before)
                result.requests += 1
                if not good(head):
                    result.errors += 1
                    result.first_error = result.first_error or head
        finally:
            writer.close()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    result.seconds = time.perf_counter() - started
    return result


async def _drain(reader: asyncio.StreamReader, head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        await reader.readexactly(int(lower[at + 15 : lower.index(b"\r\n", at)]))
        return 1
    chunks = 0
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
        chunks += 1
    await reader.readline()
    return chunks
