"""Access tokens of Google Cloud, by google-auth (the extra `vertex`): imported on first use, in a thread.

Source: google-auth 2.62 `google/auth/_default.py`, `google/auth/credentials.py`, `google/auth/compute_engine/credentials.py`.
"""

from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING

from tokenrouter.clock import Clock
from tokenrouter.errors import Unavailable
from tokenrouter.model.catalog import Deployment, Secret
from tokenrouter.upstream.renewed import LONGEST_FETCH_S, Fetched

if TYPE_CHECKING:
    from google.auth.transport import Request

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MACHINE = "default"
_EARLY_S, _SPARE_S = 300.0, 30.0
_UNKNOWN_LIFE_S = 600.0


def access_token(deployment: Deployment, clock: Clock, transport: "Request | None" = None) -> Callable[[], Fetched[str]]:
    """What fetches a deployment's token: by the key file that it names, or as the machine itself where it says `default`.

    The machine's metadata server is asked outright: google-auth's search for credentials would read the same variable as we do, and take
    `default` for a file. `transport`: how token servers are asked; google-auth's own by default.
    """

    def fetch() -> Fetched[str]:
        try:
            import google.auth
            from google.auth.compute_engine import Credentials as MachineCredentials
            from google.auth.transport.requests import Request
        except ImportError:
            raise Unavailable(
                f"{deployment.name}: access tokens need google-auth: pip install 'tokenrouter-gateway[vertex]', or set VERTEX_ACCESS_TOKEN"
            ) from None
        path = deployment.credential.get("GOOGLE_APPLICATION_CREDENTIALS", Secret("")).reveal()
        try:
            credentials = (
                MachineCredentials(scopes=_SCOPES)  # type: ignore[no-untyped-call]
                if path == _MACHINE
                else google.auth.load_credentials_from_file(path, _SCOPES)[0]  # type: ignore[no-untyped-call]
            )
        except (google.auth.exceptions.DefaultCredentialsError, OSError) as error:
            raise Unavailable(
                f"{deployment.name}: GOOGLE_APPLICATION_CREDENTIALS names nothing that google-auth can use ({type(error).__name__})"
            ) from None
        credentials.refresh(transport or partial(Request(), timeout=LONGEST_FETCH_S))
        if not credentials.token:
            raise Unavailable(f"{deployment.name}: Google gave no access token")
        left_s = _UNKNOWN_LIFE_S
        if credentials.expiry is not None:
            left_s = credentials.expiry.replace(tzinfo=UTC).timestamp() - clock.time_ns() / 1e9
        return Fetched(credentials.token, max(left_s - _EARLY_S, left_s / 2), left_s - _SPARE_S)

    return fetch
