"""What an answer said, read back from the bytes that its client was sent."""

from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.answer import Answer, fold
from tokenrouter.serving.question import Question
from tokenrouter.serving.reply import generating
from tokenrouter.serving.respelling import learn_calls
from tokenrouter.serving.services import Services

_TOKENS_PER_S = 500  # faster than any reasoning model served today


def read_back(question: Question, answer: bytes) -> Answer:
    """What was said. Raises UpstreamFailed where it can not be read."""
    dialect, params = generating(question.dialect), question.params
    try:
        return fold(dialect.decoder(params.framing).feed(answer)) if params.stream else dialect.decode_answer(answer)
    except ValueError as error:  # a native lane relays bytes that nobody has looked into: they may not even be text
        raise UpstreamFailed("what the provider said can not be read") from error


def said_tokens(question: Question, answer: bytes) -> int:
    """Output tokens to book where the provider never told: a third of the bytes of what it said, and never more than was held for.

    A model that reasons may have produced more than it showed: at most what fits into the time that it had.
    """
    hidden = question.record.upstream_ns * _TOKENS_PER_S // 1_000_000_000 if question.model.reasoning != "none" else 0
    if question.dialect.operation != "generate":
        return 0
    most = (question.params.max_output or question.model.max_output) * question.params.choices
    try:
        folded = read_back(question, answer)
    except UpstreamFailed:
        return min(most, max(hidden, -(-len(answer) // 3)))
    said = 0
    for choice in folded.choices:
        texts = [choice.text or "", choice.refusal or "", *(block.text for block in choice.reasoning)]
        texts += [part for call in choice.tool_calls for part in (call.name, call.arguments)]
        said += sum(len(text.encode("utf-8", "replace")) for text in texts)
    return min(most, max(hidden, -(-said // 3)))


def hear_calls(question: Question, answer: bytes, services: Services) -> None:
    """Remember how the model wrote its calls (`calls.spelling`). An answer that can not be read teaches nothing."""
    try:
        heard = read_back(question, answer)
    except UpstreamFailed:
        return
    learn_calls(
        heard,
        question.envelope,
        question.spoken_link,
        services.prompts.edits,
        tenant=question.call.principal.tenant,
        host=question.model.vendor,
        seed=services.planner.prefix_seed,
        now_ns=services.clock.time_ns(),
    )
