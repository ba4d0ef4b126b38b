"""Signature Version 4, by botocore (the extra `bedrock`): imported on first use, in a thread.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; botocore 1.44 `auth.py`, `credentials.py`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tokenrouter.errors import Unavailable
from tokenrouter.model.catalog import Deployment
from tokenrouter.upstream.renewed import Fetched

if TYPE_CHECKING:
    from botocore.auth import SigV4Auth
    from botocore.credentials import Credentials as BotocoreCredentials

Headers = tuple[tuple[str, str], ...]

_SERVICE = "bedrock"
_FOREVER_S = 10.0 * 365 * 86_400
_LOOK_AGAIN_S, _GOOD_S = 60.0, 300.0
"""botocore's chain renews what it holds ten minutes before its end: what it gave is good for five, and asking it again costs nothing."""


def signer(deployment: Deployment) -> "Callable[[], Fetched[SigV4Auth]]":
    """What fetches a deployment's signer: keys of the environment, else what botocore's own chain finds (a profile, a role)."""
    chain: list[BotocoreCredentials] = []

    def fetch() -> "Fetched[SigV4Auth]":
        try:
            from botocore.auth import SigV4Auth
            from botocore.credentials import ReadOnlyCredentials
            from botocore.session import Session
        except ImportError:
            raise Unavailable(
                f"{deployment.name}: signing requests needs botocore: pip install 'tokenrouter-gateway[bedrock]', "
                "or use an API key of Bedrock's own (AWS_BEARER_TOKEN_BEDROCK)"
            ) from None
        said = {name: secret.reveal() for name, secret in deployment.credential.items()}
        region = said.get("AWS_REGION") or said.get("AWS_DEFAULT_REGION")
        if not region:
            raise Unavailable(f"{deployment.name}: AWS_REGION is missing, which requests are signed for")
        key, secret = said.get("AWS_ACCESS_KEY_ID"), said.get("AWS_SECRET_ACCESS_KEY")
        if key and not secret:
            raise Unavailable(f"{deployment.name}: AWS_SECRET_ACCESS_KEY is missing beside AWS_ACCESS_KEY_ID")
        if key and secret:
            frozen = ReadOnlyCredentials(key, secret, said.get("AWS_SESSION_TOKEN"))
            return Fetched(SigV4Auth(frozen, _SERVICE, region), _FOREVER_S, _FOREVER_S)
        if not chain:
            found = Session(profile=said.get("AWS_PROFILE")).get_credentials()
            if found is None:
                raise Unavailable(f"{deployment.name}: botocore finds no credentials (AWS_PROFILE, or the role of this machine)")
            chain.append(found)
        return Fetched(SigV4Auth(chain[0].get_frozen_credentials(), _SERVICE, region), _LOOK_AGAIN_S, _GOOD_S)

    return fetch


def signed(auth: "SigV4Auth", url: str, headers: Headers, body: bytes) -> Headers:
    """`headers` and what proves them, the address and the body. Takes some 0.2 ms, and milliseconds per megabyte of body."""
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
    auth.add_auth(request)
    made: Mapping[str, str] = request.headers
    return tuple([(name.lower(), value) for name, value in made.items()])
