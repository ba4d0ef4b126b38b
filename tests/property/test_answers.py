from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tokenrouter.adapters.wire.openai_chat import ChatEventDecoder, ChatEventEncoder, decode_answer, encode_answer
from tokenrouter.model.answer import Answer, Choice, Declined, Finished, Reasoning, Spoken, Started, TextDelta, ToolCall, fold, unfold
from tokenrouter.model.usage import NO_USAGE, Usage

texts = st.text(max_size=12)
words = st.text(min_size=1, max_size=12)
formats = st.sampled_from(["", "anthropic-claude-v1", "google-gemini-v1"])
stops = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
tokens = st.integers(0, 1_000_000)


@st.composite
def usages(draw):
    if draw(st.booleans()):
        return NO_USAGE
    told = draw(st.booleans())
    read, write, long = (draw(tokens) for _ in range(3)) if told else (0, 0, 0)
    output = draw(tokens)
    return Usage(
        fresh_input=draw(tokens),
        cache_read=read,
        cache_write=write,
        cache_write_1h=long,
        output=output,
        reasoning=draw(st.integers(0, output)),
        cache_reported=told,
    )


def no_two_texts_side_by_side(blocks):
    return tuple(
        block for at, block in enumerate(blocks) if not at or type(block) is not type(blocks[at - 1]) or type(block) not in (Spoken, Declined)
    )


any_reasoning = st.builds(Reasoning, texts, texts, texts, formats, texts)
any_block = any_reasoning | st.builds(Spoken, texts) | st.builds(Declined, texts) | st.builds(ToolCall, texts, texts, texts, st.booleans())
any_blocks = st.lists(any_block, max_size=6).map(no_two_texts_side_by_side)
any_choice = st.builds(Choice, any_blocks, stops, st.none() | texts)
cut_off = st.builds(Choice, any_blocks.filter(bool))
any_answer = st.builds(Answer, texts, texts, st.integers(0, 2**33), st.lists(any_choice | cut_off, max_size=3).map(tuple), usages())

# What the Chat wire can say: no empty text next to no text, no call without a name, signature and redacted data in blocks of their own.
not_google = st.sampled_from(["", "anthropic-claude-v1"])
chat_reasoning = (
    st.builds(Reasoning, texts, texts, format=not_google)
    | st.builds(Reasoning, redacted=words, format=not_google)
    | st.builds(Reasoning, texts, format=st.just("google-gemini-v1"))
    | st.builds(Reasoning, signature=words, format=st.just("google-gemini-v1"), id=words)
)
chat_blocks = st.tuples(
    st.lists(chat_reasoning, max_size=3),
    st.lists(st.builds(Spoken, words), max_size=1),
    st.lists(st.builds(Declined, words), max_size=1),
    st.lists(st.builds(ToolCall, words, words, texts), max_size=3),
).map(lambda kinds: tuple(block for kind in kinds for block in kind))
chat_choice = st.builds(Choice, chat_blocks, stops)
chat_answer = st.builds(
    Answer,
    words.map("chatcmpl-{}".format),
    words,
    st.integers(1, 2**33),
    st.lists(chat_choice, min_size=1, max_size=2).map(tuple),
    usages(),
)


def written(answer):
    encoder = ChatEventEncoder(include_usage=True, created_s=1)
    return b"".join(encoder.encode(event) for event in unfold(answer)) + encoder.close()


@given(any_answer)
def test_what_is_unfolded_folds_to_the_same_answer(answer):
    assert fold(unfold(answer)) == answer


@given(any_answer, st.data())
def test_how_text_is_cut_into_deltas_does_not_matter(answer, data):
    events = []
    for event in unfold(answer):
        if isinstance(event, TextDelta):
            cut = data.draw(st.integers(0, len(event.text)))
            events += [TextDelta(event.text[:cut], event.choice), TextDelta(event.text[cut:], event.choice)]
        else:
            events.append(event)
    assert fold(events) == answer


@given(chat_answer)
def test_a_whole_chat_answer_is_read_back_as_it_was_written(answer):
    assert decode_answer(encode_answer(answer)) == answer


@given(chat_answer, st.data())
def test_a_chat_stream_is_read_back_as_it_was_written_however_it_is_cut(answer, data):
    stream = written(answer)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = ChatEventDecoder()
    events = [event for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for event in decoder.feed(stream[start:end])]
    assert fold([*events, *decoder.finish()]) == answer


@given(any_answer)
def test_whatever_is_written_has_the_form_that_the_sdk_types(answer):
    if answer.complete:
        ChatCompletion.model_validate_json(encode_answer(answer), strict=True)
    if any(call.custom for choice in answer.choices for call in choice.tool_calls):
        return  # the SDK's chunk type knows calls of functions only
    frames = written(answer).split(b"\n\n")
    assert len(frames) > 1
    for frame in frames:
        if frame and frame != b"data: [DONE]":
            ChatCompletionChunk.model_validate_json(frame[6:], strict=True)


def test_an_answer_that_was_cut_off_or_failed_is_not_complete():
    assert not fold([Started("a", "m"), TextDelta("x")]).complete
    assert fold([Started("a", "m"), TextDelta("x"), Finished("stop")]).complete
    assert not fold([]).complete
