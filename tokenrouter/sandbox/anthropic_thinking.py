"""Signatures of thinking blocks, and on newer models their binding to the conversation that they were made in.

A signature proves that the block is ours and records where it was made: a fingerprint of system, tools and all earlier messages
(thinking apart), and the thinking block before it. So later messages may be added, marks may move, and leading thinking may be
dropped, while an edit before the block, or thinking dropped from the middle, shows.

Source: https://platform.claude.com/docs/en/build-with-claude/preserved-thinking.
"""

import base64
import binascii
import hashlib
import hmac

import msgspec

from tokenrouter.sandbox.anthropic_models import Model
from tokenrouter.sandbox.anthropic_request import bad
from tokenrouter.sandbox.anthropic_turns import THINKING, Block

_MAGIC = b"TR1"
_SIZES = (16, 8, 8, 8)
NO_LINK = bytes(8)


class Dropped(msgspec.Struct, frozen=True):
    """A block that was removed instead of being shown to the model."""

    path: str
    reason: str


class Record(msgspec.Struct, frozen=True):
    """What a signature says: the conversation before the block, the thinking before it, its text, its account."""

    prefix: bytes
    link: bytes
    text: bytes
    account: bytes

    def packed(self) -> bytes:
        """All of it."""
        return self.prefix + self.link + self.text + self.account


class Signer:
    """Signs and checks thinking blocks with the sandbox's own key."""

    __slots__ = ("_key",)

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"sandbox thinking {seed}".encode()).digest()

    def sign(self, text: str, *, prefix: bytes, link: bytes, account: str) -> str:
        """The signature of a new block."""
        packed = Record(prefix, link, _short(text), _short(account)).packed()
        return base64.b64encode(_MAGIC + packed + self._mac(packed)).decode()

    def link(self, signature: str) -> bytes:
        """How the next thinking block refers to this one."""
        return _short(signature)

    def read(self, block: Block) -> Record:
        """The record of a replayed block; 400 when the signature is not ours or the text was changed."""
        signature = str(block.value["signature" if block.kind == "thinking" else "data"])
        refusal = bad(f"{block.path}: Invalid `signature` in `thinking` block")
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            raise refusal from None
        packed, mac = raw[len(_MAGIC) : len(_MAGIC) + sum(_SIZES)], raw[len(_MAGIC) + sum(_SIZES) :]
        if not raw.startswith(_MAGIC) or not hmac.compare_digest(mac, self._mac(packed)):
            raise refusal
        parts: list[bytes] = []
        for size in _SIZES:
            parts.append(packed[:size])
            packed = packed[size:]
        record = Record(*parts)
        text = block.value.get("thinking", "")
        if text and _short(str(text)) != record.text:
            raise refusal
        return record

    def _mac(self, packed: bytes) -> bytes:
        return hmac.new(self._key, packed, "sha256").digest()[:16]


def _short(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:8]


def check_thinking(signer: Signer, blocks: list[Block], prefixes: list[bytes], *, model: Model, account: str, drops: bool) -> list[Dropped]:
    """Check every replayed thinking block; `prefixes[i]` is the conversation before block i. Raises, or tells what to drop."""
    dropped: list[Dropped] = []
    link: bytes | None = None
    failing: tuple[int, str] | None = None
    following = -1
    for index, block in enumerate(blocks):
        if block.kind not in THINKING:
            continue
        record = signer.read(block)
        reason = None
        if model.bound:
            reason = _mismatch(record, prefixes[index], link, account if model.account_bound else None)
            if reason is None and failing is not None and failing[0] == block.turn and following == index - 1:
                reason = failing[1]
        if reason is None:
            link = signer.link(str(block.value.get("signature", block.value.get("data"))))
            continue
        if not drops:
            raise bad(
                f"{block.path}: this `{block.kind}` block is bound to a different conversation: the system prompt, the tools or an earlier message "
                "differ from those it was created with. Send the conversation unchanged, or remove the block."
            )
        dropped.append(Dropped(block.path, reason))
        failing, following = (block.turn, reason), index
    return dropped


def _mismatch(record: Record, prefix: bytes, link: bytes | None, account: str | None) -> str | None:
    if account is not None and record.account != _short(account):
        return "organization_binding_mismatch"
    if record.prefix != prefix or (link is not None and record.link != link):
        return "prefix_binding_mismatch"
    return None
