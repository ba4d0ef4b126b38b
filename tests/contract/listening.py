"""An ear between the gateway and the simulated vendors: the bytes of their answers."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from rig import Rig

from tokenrouter.upstream.asgi_transport import AsgiTransport

_NAMES = b"signature|thoughtSignature|thought_signature|encrypted_content|redactedContent|data"
_SIGNATURE = re.compile(rb'"(?:' + _NAMES + rb')"\s*:\s*"([A-Za-z0-9+/=_.-]{16,})"')


class Ear:
    """An ASGI app around another. `body`: of the newest answer, as far as it came."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app
        self.body = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.body = b""

        async def heard(message: Any) -> None:
            self.body += message.get("body", b"")
            await send(message)

        await self.app(scope, receive, heard)

    @property
    def signatures(self) -> list[str]:
        """What the vendor signed or sealed in its newest answer."""
        return [found.decode() for found in dict.fromkeys(_SIGNATURE.findall(self.body))]


def listen(rig: Rig) -> Ear:
    """Put an ear between."""
    ear = Ear(rig.sandbox)
    transport = rig.services.sandbox_transport
    assert isinstance(transport, AsgiTransport)
    rig.set(sandbox_transport=AsgiTransport(ear, transport._timeouts))
    return ear
