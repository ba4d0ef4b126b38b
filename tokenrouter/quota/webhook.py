"""Messages to the operator's webhook, over the network."""

from collections.abc import Mapping

import aiohttp

from tokenrouter.model.catalog import Secret
from tokenrouter.quota.alerts import NotDelivered


class WebhookPost:
    """`quota.alerts.Post` by HTTP: no redirects, no cookies, no proxy from the environment. The address may hold a credential: never said."""

    def __init__(self, url: Secret, *, timeout_s: float = 5.0) -> None:
        """`timeout_s`: for everything, from the connection to the status. Inside a running loop."""
        self._url = url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s), cookie_jar=aiohttp.DummyCookieJar(), headers={"user-agent": "tokenrouter"}
        )

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        """See `Post`. What comes with the status is not read."""
        try:
            async with self._session.post(self._url.reveal(), data=body, headers=headers, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, OSError) as error:
            raise NotDelivered(type(error).__name__) from error

    async def aclose(self) -> None:
        """See `Post`."""
        await self._session.close()
