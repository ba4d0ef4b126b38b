"""What a spent cap may lead to instead of a refusal: a cheaper model, or a shorter answer."""

import msgspec

from tokenrouter.adapters.inbound.output_limit import with_output_limit
from tokenrouter.model.edits import LIMITS_FIT
from tokenrouter.model.rules import Cap
from tokenrouter.serving.entrance import NotAdmitted, in_words
from tokenrouter.serving.question import Question, fees_of, most_tokens, understand
from tokenrouter.serving.services import Services

LEAST_OUTPUT = 16
"""An answer is not cut shorter than this many tokens; the request is refused instead."""

ROOMY_OUTPUT = 4_096
"""Where the request sets no limit it gets half of what is left, so that others of the same cap can go on, as long as that affords so many."""


def another_way(question: Question, refusal: NotAdmitted, services: Services) -> Question:
    """The question to ask instead. Raises the refusal in its caller's words where there is none."""
    cap = refusal.refusal.cap
    found: Question | None = None
    if cap is not None and cap.action == "downgrade":
        found = _cheaper(question, cap, services)
    if cap is not None and found is None and (cap.action == "fit" or question.params.max_output is None):
        found = _shorter(question, cap, refusal.refusal.left, services)
    if found is None:
        raise in_words(refusal, services, question) from None
    return found


def _cheaper(question: Question, cap: Cap, services: Services) -> Question | None:
    record, model = question.record, question.model
    served = f"{model.vendor}/{model.name}"
    if question.instead or cap.downgrade_to == served:
        return None
    record.downgraded_from = served
    return understand(question.call, services, record, instead=cap.downgrade_to)


def _shorter(question: Question, cap: Cap, left: int, services: Services) -> Question | None:
    """The same question with an output limit whose worst case fits into what is left."""
    if question.dialect.operation != "generate" or LIMITS_FIT not in question.edits:
        return None
    params = question.params
    stated = params.max_output
    most = _affordable(question, cap, left)
    if stated is None and _affordable(question, cap, left // 2) >= ROOMY_OUTPUT:
        most = _affordable(question, cap, left // 2)
    if most < LEAST_OUTPUT or (stated is not None and most >= stated):
        return None
    body = with_output_limit(question.call.dialect, question.call.body, most)
    if body is None:
        return None
    call = msgspec.structs.replace(question.call, body=body)
    shorter = understand(call, services, question.record, instead=question.instead, fitted=most)
    if shorter.params.max_output != most:
        return None
    question.record.output_limit = most
    return shorter


def _affordable(question: Question, cap: Cap, amount: int) -> int:
    """Output tokens per choice that `amount` covers at most."""
    inputs, _ = most_tokens(question)
    total = amount - inputs if cap.unit == "tokens" else question.tariff.most_output(inputs, amount - fees_of(question))
    return min(total // question.params.choices, question.model.max_output)
