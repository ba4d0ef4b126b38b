"""Before a conversation with bound reasoning is sent: its form is kept where a crash does not reach it. And what to do when that was not it."""

from tokenrouter.adapters.wire.bound_reasoning import says_bound
from tokenrouter.errors import Unavailable
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.serving.question import Question, understand
from tokenrouter.serving.services import Services
from tokenrouter.upstream.lane import Lane

_FETCHES = 3


async def pin_down(question: Question, services: Services) -> Question:
    """The question in the form in which it may be sent.

    Another worker may have begun the same conversation in another form: then that one counts. Where nothing can be kept, nothing is edited.
    """
    pin = question.pin
    if pin is None:
        return question
    try:
        held = await services.pins.write(question.call.principal.tenant, pin.key, pin.form, replace=pin.replaces)
    except Unavailable:
        return question if pin.form.as_it_came else await _again(question, services, plain=True)
    return question if held == pin.form else await _again(question, services, plain=False)


async def as_it_came(question: Question, services: Services, lane: Lane, body: bytes) -> Question | None:
    """The question in the client's own form, where the vendor has refused reasoning for having been made under another prompt.

    None where it refused something else, or where the client's form was what it refused. It is to be pinned once the vendor has taken it.
    """
    if not question.model.bound_reasoning or not says_bound(lane.error_message(body) or ""):
        return None
    plain = await _again(question, services, plain=True)
    if plain.envelope.edited == question.envelope.edited and plain.canonical.tool_order == question.canonical.tool_order:
        return None
    return plain


async def _again(question: Question, services: Services, *, plain: bool) -> Question:
    for _ in range(_FETCHES):
        try:
            return understand(
                question.call, services, question.record, instead=question.instead, fitted=question.fitted, promised=question.identity, plain=plain
            )
        except NotAtHand as missing:
            await missing.fetch()
    raise Unavailable("what this request refers to can not be looked up at the moment; try again")
