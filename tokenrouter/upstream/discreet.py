"""Answers of hosts without the credential that the host was shown: some repeat it in their errors, and those go to clients."""

from collections.abc import Iterable

_SHOWN = frozenset(("authorization", "x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token"))
_SHORTEST = 8
_HIDDEN = b"***"


class Discreet:
    """Takes the credential out of one answer, wherever the pieces of it are cut.

    Only what may be the credential's beginning is held back, so an answer without it passes byte for byte, as it comes.
    """

    __slots__ = ("_held", "_secrets")

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        """`headers`: of the request."""
        shown = [value.partition(" ")[2] or value for name, value in headers if name in _SHOWN]
        self._secrets = tuple([value.encode("latin-1", "replace") for value in shown if len(value) >= _SHORTEST])
        self._held = b""

    def text(self, value: str) -> str:
        """A header's value."""
        for secret in self._secrets:
            value = value.replace(secret.decode("latin-1"), _HIDDEN.decode())
        return value

    def feed(self, data: bytes) -> bytes:
        """What of the body may pass."""
        if self._held:
            data = self._held + data
            self._held = b""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, _HIDDEN)
        begun = max((_begun(data, secret) for secret in self._secrets), default=0)
        if begun:
            data, self._held = data[:-begun], data[-begun:]
        return data

    def rest(self) -> bytes:
        """What was held back, at the end of the body."""
        rest, self._held = self._held, b""
        return rest


def _begun(data: bytes, secret: bytes) -> int:
    """How many bytes at the end of `data` are the secret's first ones."""
    if data[-1:] not in secret:
        return 0
    return next((size for size in range(min(len(secret) - 1, len(data)), 0, -1) if data.endswith(secret[:size])), 0)
