"""How the gateway shows a host who it is. The style is catalog data; a credential appears here and in the outgoing header, nowhere else."""

import asyncio
from typing import TYPE_CHECKING

from tokenrouter.clock import Clock
from tokenrouter.model.catalog import AuthStyle, Deployment
from tokenrouter.upstream.credentials_aws import Headers, signed, signer
from tokenrouter.upstream.credentials_google import access_token
from tokenrouter.upstream.renewed import Renewed

if TYPE_CHECKING:
    from botocore.auth import SigV4Auth

_HEADER: dict[AuthStyle, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer "),
    "x-api-key": ("x-api-key", ""),
    "api-key": ("api-key", ""),
    "x-goog-api-key": ("x-goog-api-key", ""),
    "aws": ("authorization", "Bearer "),
    "google": ("authorization", "Bearer "),
}
"""Where a credential goes that is sent as it is. Amazon and Google have such too: an API key of Bedrock's, an access token."""

_LARGE = 1 << 18
"""Bytes. A body above it is hashed off the event loop."""


class Credentials:
    """Adds a deployment's credential to a request that is ready to be sent. Signers and tokens are made once and kept while they are good."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._signers: dict[str, Renewed[SigV4Auth]] = {}
        self._tokens: dict[str, Renewed[str]] = {}

    async def headers(self, deployment: Deployment, url: str, headers: Headers, body: bytes) -> Headers:
        """`headers` with the credential. `url` and `body`: as they will be sent; signatures are over them.

        Raises:
            Unavailable: a library is missing that the credential needs, or no token could be fetched.
        """
        style = deployment.auth
        if style == "none":
            return headers
        if deployment.api_key:
            name, prefix = _HEADER[style]
            return (*headers, (name, prefix + deployment.api_key.reveal()))
        if style == "aws":
            if deployment.name not in self._signers:
                self._signers[deployment.name] = Renewed(deployment.name, signer(deployment), self._clock)
            auth = await self._signers[deployment.name].get()
            if len(body) > _LARGE:
                return await asyncio.to_thread(signed, auth, url, headers, body)
            return signed(auth, url, headers, body)
        if style == "google":
            if deployment.name not in self._tokens:
                self._tokens[deployment.name] = Renewed(deployment.name, access_token(deployment, self._clock), self._clock)
            return (*headers, ("authorization", f"Bearer {await self._tokens[deployment.name].get()}"))
        return headers

    async def aclose(self) -> None:
        """Let go of what is being fetched."""
        for source in (*self._signers.values(), *self._tokens.values()):
            await source.aclose()
