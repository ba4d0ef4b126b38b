"""Checking Signature Version 4 of a received request, byte for byte.

Every access key id is an account of its own and all of them have one secret, `SECRET`. Times are not compared with a clock: the
sandbox's clock is one that tests move.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

import hashlib
import hmac
import re
from urllib.parse import quote

import msgspec

from tokenrouter.sandbox.wire import Call, Refusal

SECRET = "sandbox-secret-access-key"  # noqa: S105  (public: the sandbox's own)
ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "bedrock"
_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*")
_DATE = re.compile(r"\d{8}T\d{6}Z")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_WRONG = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


class Signed(msgspec.Struct, frozen=True):
    """What an Authorization header says."""

    access_key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        """The credential scope."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def read_authorization(value: str) -> Signed | None:
    """The parts of the header, None if it is not well-formed."""
    algorithm, _, rest = value.partition(" ")
    parts: dict[str, str] = {}
    for piece in rest.split(","):
        found = _PART.fullmatch(piece)
        if found is None or found[1] in parts:
            return None
        parts[found[1]] = found[2]
    scope = parts.get("Credential", "").split("/")
    if algorithm != ALGORITHM or len(parts) != 3 or len(scope) != 5 or not all(scope) or scope[4] != "aws4_request":
        return None
    if not _SIGNATURE.fullmatch(parts["Signature"]):
        return None
    return Signed(scope[0], scope[1], scope[2], scope[3], tuple(parts["SignedHeaders"].split(";")), parts["Signature"])


def verify(call: Call) -> None:
    """Return if the request was signed with the sandbox's secret over exactly these bytes. Raises 403 otherwise."""
    signed = read_authorization(call.headers.get("authorization", ""))
    if signed is None:
        raise _incomplete("Authorization header is not in the form of 'Credential=…, SignedHeaders=…, Signature=…'.")
    date = call.headers.get("x-amz-date", "")
    if not _DATE.fullmatch(date):
        raise _incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if date[:8] != signed.date:
        raise _invalid(f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: '{signed.date}' != '{date[:8]}'")
    if signed.service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if list(signed.headers) != sorted(set(signed.headers)):
        raise _incomplete("SignedHeaders must be in order.")
    must = {"host", *(name for name in call.headers if name.startswith("x-amz-"))}
    missing = sorted(must - set(signed.headers))
    if missing:
        raise _invalid(f"The following headers must be signed: {', '.join(missing)}")
    payload = hashlib.sha256(call.body).hexdigest()
    if call.headers.get("x-amz-content-sha256", payload) != payload:
        raise _invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
    text = "\n".join((ALGORITHM, date, signed.scope, hashlib.sha256(canonical_request(call, signed.headers, payload).encode()).hexdigest()))
    if not hmac.compare_digest(_sign(signed, text), signed.signature):
        raise _invalid(_WRONG)


def canonical_request(call: Call, headers: tuple[str, ...], payload: str) -> str:
    """The text whose hash is signed. The path is encoded once more on top of what was sent: only S3 does not."""
    pairs = sorted(pair if "=" in pair else f"{pair}=" for pair in call.query.split("&") if pair)
    lines = [f"{name}:{' '.join(call.headers.get(name, '').split())}" for name in headers]
    return "\n".join((call.method, quote(call.raw_path, safe="/~"), "&".join(pairs), *lines, "", ";".join(headers), payload))


def _sign(signed: Signed, text: str) -> str:
    key = b"AWS4" + SECRET.encode()
    for step in (signed.date, signed.region, signed.service, "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _incomplete(message: str) -> Refusal:
    return Refusal(403, message, kind="IncompleteSignatureException")


def _invalid(message: str) -> Refusal:
    return Refusal(403, message, kind="InvalidSignatureException")
