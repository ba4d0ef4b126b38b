"""Reasoning items that travel: `encrypted_content`, which proves that a thought is ours and says where it was made.

A replayed thought is checked, and may still be withheld from the model: then the answer lists it in `input_transformations`, without
an error. Reasons, in this order: another organization or another model made it; the conversation before it is not the one that it was
made in (from gpt-5.6 on; the service does not publish what it compares: here it is the items before it, thoughts, phases, marks and ids apart);
it lies before the last user message and the model keeps only the thoughts of the current turn.

Source: the published `openai` SDK 3.52.0, types/responses/response_reasoning_item_param.py, `InputTransformation` in response.py,
`context` in shared_params/reasoning.py; https://developers.openai.com/api/docs/guides/reasoning.
"""

import base64
import binascii
import hashlib
import hmac

import msgspec

from tokenrouter.sandbox.chat_request import invalid
from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal

_MAGIC = "gAAAAAB"
_MAC = 16


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What an `encrypted_content` holds.

    prefix    fingerprint of the items before the thought
    follower  id of the item that came after it, "" if none did
    called    the call id of that item, if it is a call
    """

    item: str
    account: str
    model: str
    prefix: int
    follower: str
    called: str
    text: str


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where a thought is replayed."""

    account: str
    model: str
    bound: bool
    """Thoughts are tied to the conversation before them."""
    turn_start: int
    """Index of the first item whose thoughts the model is shown."""


class Sealer:
    """Seals and opens thoughts with the sandbox's own key."""

    __slots__ = ("_decode", "_key")

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"sandbox reasoning {seed}".encode()).digest()
        self._decode = msgspec.json.Decoder(Sealed).decode

    def seal(self, sealed: Sealed) -> str:
        """The `encrypted_content` of a new thought."""
        packed = msgspec.json.encode(sealed)
        return _MAGIC + base64.urlsafe_b64encode(self._mac(packed) + packed).decode()

    def open(self, item: JsonObject) -> Sealed:
        """What a replayed item says; 400 if it is damaged, foreign, or under another id."""
        content = str(item["encrypted_content"])
        shown = f"{content[:4]}...{content[-4:]}" if len(content) > 8 else content
        try:
            raw = base64.b64decode(content[len(_MAGIC) :].encode("ascii", "replace"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        packed = raw[_MAC:]
        if not content.startswith(_MAGIC) or not hmac.compare_digest(raw[:_MAC], self._mac(packed)):
            raise _unverified(shown, "Encrypted content could not be decrypted or parsed.")
        sealed = self._decode(packed)
        if item.get("id") != sealed.item:
            raise _unverified(shown, "Encrypted content item_id did not match the target item id.")
        return sealed

    def _mac(self, packed: bytes) -> bytes:
        return hmac.new(self._key, packed, "sha256").digest()[:_MAC]


def unverifiable(content: str) -> Refusal:
    """The 400 for encrypted content that nobody here has issued."""
    return _unverified(f"{content[:4]}...{content[-4:]}", "Encrypted content could not be decrypted or parsed.")


def _unverified(shown: str, reason: str) -> Refusal:
    return invalid(f"The encrypted content {shown} could not be verified. Reason: {reason}", None, "invalid_encrypted_content")


def check_follower(item: JsonObject, sealed: Sealed, following: JsonObject | None) -> None:
    """A thought has to be followed by the item that it led to; without an id a message will do, a call has to be the same call."""
    if not sealed.follower:
        return
    fits = False
    if following is not None and following.get("id") is not None:
        fits = following["id"] == sealed.follower
    elif following is not None:
        fits = following.get("call_id") == sealed.called if sealed.called else following.get("role") == "assistant"
    if not fits:
        raise invalid(f"Item '{item['id']}' of type 'reasoning' was provided without its required following item.", "input")


def withheld(sealed: Sealed, where: Where, index: int, prefix: int) -> str | None:
    """Why the model does not get to see this thought."""
    if sealed.account != where.account:
        return "organization_mismatch"
    if sealed.model != where.model:
        return "model_mismatch"
    if where.bound and sealed.prefix != prefix:
        return "prefix_mismatch"
    return "turn_boundary" if index < where.turn_start else None


def removal(item: JsonObject, reason: str) -> JsonValue:
    """How the answer reports a thought that was withheld."""
    return {"id": item["id"], "type": "reasoning", "action": "removed", "reason": reason}
