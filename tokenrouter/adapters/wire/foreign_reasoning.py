"""Another vendor's signed reasoning, in the field where a client's dialect keeps signatures: sealed on its way out, opened when it returns.

A client hands such a field back unread. So what one vendor signed survives in the dialect of another, and reaches its vendor again.
The envelope holds no secret and is no proof: whoever checks the signature is the vendor. The visible text stays outside of it.
"""

import base64
import binascii

import msgspec

from tokenrouter.model.answer import Reasoning

PREFIX = "tr1."
"""Head of an envelope, with its version. No vendor's signature starts with it: the point is in no alphabet of base64."""


class _Sealed(msgspec.Struct, omit_defaults=True):
    """`f`: format, `i`: id, `s`: signature, `r`: redacted."""

    f: str = ""
    i: str = ""
    s: str = ""
    r: str = ""


_sealed = msgspec.json.Decoder(_Sealed)


def seal(reasoning: Reasoning) -> str:
    """The envelope of everything but the text, as ASCII: letters, digits, "-", "_" and one point. The same reasoning has the same envelope."""
    content = msgspec.json.encode(_Sealed(reasoning.format, reasoning.id, reasoning.signature, reasoning.redacted))
    return PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


def unseal(envelope: str, text: str = "") -> Reasoning | None:
    """The reasoning of an envelope, `text` with it; None for what is none, a vendor's own signature above all."""
    if not envelope.startswith(PREFIX):
        return None
    body = envelope[len(PREFIX) :]
    try:
        content = _sealed.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return Reasoning(text, content.s, content.r, content.f, content.i)
