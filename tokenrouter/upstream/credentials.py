"""How the gateway shows a host who it is. The style is catalog data; a credential appears here and in the outgoing header, nowhere else."""

from tokenrouter.errors import Unavailable
from tokenrouter.model.catalog import AuthStyle, Deployment

Headers = tuple[tuple[str, str], ...]

_HEADER: dict[AuthStyle, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer "),
    "x-api-key": ("x-api-key", ""),
    "api-key": ("api-key", ""),
    "x-goog-api-key": ("x-goog-api-key", ""),
}


class Credentials:
    """Adds a deployment's credential to a request that is ready to be sent."""

    async def headers(self, deployment: Deployment, url: str, headers: Headers, body: bytes) -> Headers:
        """`headers` with the credential. `url` and `body`: as they will be sent; signatures are over them.

        Raises:
            Unavailable: the credential's style needs a library that is not installed, or a token could not be fetched.
        """
        style = deployment.auth
        if style == "none" or not deployment.api_key:
            return headers
        found = _HEADER.get(style)
        if found is None:
            raise Unavailable(f"{deployment.name}: credentials of the style {style!r} can not be made here")
        name, prefix = found
        return (*headers, (name, prefix + deployment.api_key.reveal()))
