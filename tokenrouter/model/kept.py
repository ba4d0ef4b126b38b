"""An answer that may be given again."""

import msgspec

from tokenrouter.model.usage import Usage

AnswerForm = str
"""How the bytes of an answer are laid out: "whole", "stream", "stream+usage"; a colon and the framing where a dialect has several."""


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete, successful answer, as bytes of one dialect in one form.

    body         what the client of that form was sent, the closing frame of a stream left out
    cost         nano-USD it took to get: what each reuse saves
    key_id       of the key that asked for it first
    """

    dialect: str
    form: AnswerForm
    body: bytes
    end: bytes
    usage: Usage
    cost: int
    vendor: str
    model: str
    sandbox: bool
    request_id: str
    kept_ns: int
    expires_ns: int
    key_id: str = ""

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return len(self.body) + 512


class KeptTotals(msgspec.Struct, frozen=True):
    """How many answers are kept, and how many bytes they take."""

    answers: int = 0
    size: int = 0
