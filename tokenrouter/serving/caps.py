"""What a spent cap may lead to instead of a refusal: a cheaper model, or a shorter answer."""

import msgspec

from tokenrouter.adapters.inbound.output_limit import with_output_limit
from tokenrouter.model.call import Call
from tokenrouter.model.edits import LIMITS_FIT
from tokenrouter.model.rules import Cap
from tokenrouter.serving.entrance import NotAdmitted, in_words
from tokenrouter.serving.question import Question, fees_of, most_tokens
from tokenrouter.serving.services import Services

LEAST_OUTPUT = 16
"""An answer is not cut shorter than this many tokens; the request is refused instead."""

ROOMY_OUTPUT = 4_096
"""Where the request sets no limit it gets half of what is left, so that others of the same cap can go on, as long as that affords so many."""


class Another(msgspec.Struct, frozen=True):
    """What to ask instead: see `Question.instead`, `Question.fitted`, and `understand`."""

    call: Call
    instead: str
    fitted: int
    promised: bytes | None


def another_way(question: Question, refusal: NotAdmitted, services: Services) -> Another:
    """What to ask instead. Raises the refusal in its caller's words where there is nothing."""
    cap = refusal.refusal.cap
    found: Another | None = None
    if cap is not None and cap.action == "downgrade":
        found = _cheaper(question, cap)
    if cap is not None and found is None and (cap.action == "fit" or question.params.max_output is None):
        found = _shorter(question, cap, refusal.refusal.left)
    if found is None:
        raise in_words(refusal, services, question) from None
    return found


def _cheaper(question: Question, cap: Cap) -> Another | None:
    model = question.model
    served = f"{model.vendor}/{model.name}"
    if question.instead or cap.downgrade_to == served:
        return None
    question.record.downgraded_from = served
    return Another(question.call, cap.downgrade_to, question.fitted, _promised(question))


def _shorter(question: Question, cap: Cap, left: int) -> Another | None:
    """The same question with an output limit whose worst case fits into what is left."""
    if question.dialect.operation != "generate" or LIMITS_FIT not in question.edits:
        return None
    stated = question.params.max_output
    most = _affordable(question, cap, left)
    if stated is None and _affordable(question, cap, left // 2) >= ROOMY_OUTPUT:
        most = _affordable(question, cap, left // 2)
    if most < LEAST_OUTPUT or (stated is not None and most >= stated):
        return None
    body = with_output_limit(question.call.dialect, question.call.body, most)
    if body is None:
        return None
    question.record.output_limit = most
    return Another(msgspec.structs.replace(question.call, body=body), question.instead, most, _promised(question))


def _promised(question: Question) -> bytes | None:
    """Who repeats a request under its idempotency key gets the same answer, whatever its cap affords then."""
    return question.identity if question.wishes.idempotency else None


def _affordable(question: Question, cap: Cap, amount: int) -> int:
    """Output tokens per choice that `amount` covers at most."""
    inputs, _ = most_tokens(question)
    total = amount - inputs if cap.unit == "tokens" else question.tariff.most_output(inputs, amount - fees_of(question))
    return min(total // question.params.choices, question.model.max_output)
