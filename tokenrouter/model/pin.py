"""The form in which a conversation goes up, pinned on its first turn (`prefixes/pins.py`)."""

import msgspec

FORM_VERSION = 1
"""Of what a pinned form says; a pin of a version that is not known here means: as the client has it."""

KEPT_NS = 30 * 86_400 * 1_000_000_000
RENEW_NS = KEPT_NS // 2
"""A pin is renewed where it is used and less than this is left."""


class PinnedTool(msgspec.Struct, frozen=True):
    """`kin` as in `Reading`; `spelling` without cache marks."""

    kin: bytes
    digest: bytes
    spelling: bytes


class PinnedForm(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to the tools and the system text of a conversation.

    order   names of the tools as they are sent; None: as the client sends them
    tools   their spellings; (): the client's
    splits  (which opening piece, characters of its first part)
    """

    version: int = FORM_VERSION
    order: tuple[str, ...] | None = None
    tools: tuple[PinnedTool, ...] = ()
    splits: tuple[tuple[int, int], ...] = ()

    @property
    def as_it_came(self) -> bool:
        """The client's own form."""
        return self.order is None and not self.tools and not self.splits

    def packed(self) -> bytes:
        """For storing."""
        return msgspec.msgpack.encode(self)


AS_IT_CAME = PinnedForm()
_form = msgspec.msgpack.Decoder(PinnedForm)


def unpacked(body: bytes) -> PinnedForm:
    """Read a stored form. One of another version is not guessed at."""
    try:
        form = _form.decode(body)
    except msgspec.MsgspecError:
        return AS_IT_CAME
    return form if form.version == FORM_VERSION else AS_IT_CAME
