"""The form of conversations whose reasoning is bound to the prompt: as it was pinned on their first turn (`prefixes/pins.py`)."""

import msgspec

from tokenrouter.errors import Unavailable
from tokenrouter.model.catalog import Model
from tokenrouter.model.chunk import Chunks
from tokenrouter.model.edits import CALLS_SPELLING, TOOLS_SPELLING
from tokenrouter.model.envelope import Envelope
from tokenrouter.model.pin import AS_IT_CAME, PinnedForm, PinnedTool
from tokenrouter.prefixes.pins import Pins, pin_key
from tokenrouter.prefixes.tool_order import merged
from tokenrouter.serving.respelling import Form, Pinning, Respelling, remembered_form, without_marks


def bound_form(
    envelope: Envelope, chunks: Chunks, edits: frozenset[str], model: Model, respelling: Respelling, pins: Pins, *, plain: bool = False
) -> Form:
    """The request as its conversation went up before; a new conversation as the edits have it, with the pin that is to be kept first.

    Calls keep the client's spelling: how the model wrote them is not remembered for as long as a pin.
    `plain`: as it came, and so from here on. Raises InvalidRequest, NotAtHand, Unavailable.
    """
    came = Form(envelope=envelope, chunks=chunks, sorts=False)
    key = pin_key(chunks, model=f"{model.vendor}/{model.name}")
    if plain:
        return msgspec.structs.replace(came, pin=Pinning(key, AS_IT_CAME, replaces=True))
    signed = any(reading.signed for reading in chunks.messages)
    try:
        pinned = pins.find(respelling.tenant, key)
    except Unavailable:
        if signed:
            raise
        return came
    if pinned is not None:
        return _as_pinned(came, pinned, model, respelling)
    if signed:
        return came
    made = remembered_form(envelope, chunks, edits - {CALLS_SPELLING}, model, respelling)
    if not chunks.tools and made.split is None:
        return made
    return msgspec.structs.replace(made, pin=Pinning(key, _pinned(made, edits)))


def _pinned(made: Form, edits: frozenset[str]) -> PinnedForm:
    """What has to be done again in every turn of the conversation."""
    readings, envelope = made.chunks.tools, made.envelope
    order = merged(made.order, sorted({reading.name for reading in readings})) if made.sorts else None
    tools = []
    for raw, reading in zip(envelope.tools, readings, strict=True):
        bare = without_marks(envelope, bytes(raw), reading)
        if bare is not None and TOOLS_SPELLING in edits:
            tools.append(PinnedTool(reading.kin, reading.prefix_digest, bare[0]))
    split = made.split
    return PinnedForm(order=order, tools=tuple(tools), splits=() if split is None else ((split.mark.index, split.chars),))


def _as_pinned(came: Form, pinned: PinnedForm, model: Model, respelling: Respelling) -> Form:
    envelope, chunks, split = came.envelope, came.chunks, None
    if pinned.tools:
        known = {tool.kin: (tool.digest, tool.spelling) for tool in pinned.tools}
        envelope, chunks = respelling.spelled(envelope, chunks, [known.get(reading.kin) for reading in chunks.tools])
    for place, chars in pinned.splits:
        envelope, chunks, split = respelling.in_two(envelope, chunks, model, place, chars)
    return Form(envelope=envelope, chunks=chunks, sorts=pinned.order is not None, order=pinned.order or (), split=split)
