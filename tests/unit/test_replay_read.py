import json

import pytest

from tokenrouter.errors import ConfigError
from tokenrouter.replay.read import Captured, Mistake, Reported, read, reported
from tokenrouter.replay.reasoning import without_signatures

BODY = {"model": "claude-opus-4-8", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def items(tmp_path, *lines):
    path = tmp_path / "capture.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return [line.item for line in read(path)]


def own(at=0.0, **more):
    return {"at": at, "path": "/v1/messages", "body": BODY, **more}


def test_a_body_is_replayed_byte_for_byte(tmp_path):
    (found,) = items(tmp_path, '{"path":"/v1/messages?beta=true","at":3,"body":{"model" :"m", "n":1.50,"n2":1e2}}')
    assert (found.at_s, found.path, found.query, found.number) == (3.0, "/v1/messages", "beta=true", 1)
    assert found.body == b'{"model" :"m", "n":1.50,"n2":1e2}'


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "/v1beta/models/x:streamGenerateContent",
    ],
)
def test_every_api_is_known_by_its_path(tmp_path, path):
    (found,) = items(tmp_path, own(path=path))
    assert isinstance(found, Captured)


def test_credentials_and_other_headers_stay_behind(tmp_path):
    said = {"X-API-Key": "secret", "Authorization": "secret", "Cookie": "secret", "x-cache": "all", "x-edits-off": "all"}
    kept = {"X-Claude-Code-Session-Id": "s1", "anthropic-beta": "b", "x-customer-id": "c"}
    (found,) = items(tmp_path, own(headers={**said, **kept}))
    assert found.headers == {"x-claude-code-session-id": "s1", "anthropic-beta": "b", "x-customer-id": "c"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"a": 1}', "no `at`, `path` and `body`"),
        (own(at="soon"), "`at` must be a number"),
        (own(at=1e300), "`at` must be a number"),
        (own(path=7), "`path` must be"),
        (own(path="/v1/embeddings"), "no model is asked"),
        (own(path="/elsewhere"), "no model is asked"),
        (own(body=[]), "`body` must be a JSON object"),
        (own(headers={"a": 1}), "`headers` must be"),
        (own(at=1_760_000_000_000), "not of milliseconds"),
        ({"ts": 1e300, "method": "POST", "path": "/v1/messages", "headers": [], "body": "{}"}, "`ts` must be a number of seconds"),
        (own(at=8_000_000_000), "more than a century after the first"),
        ('{"at":1,"path":"/v1/messages","body":{},"usage":{"input_tokens":' + "9" * 5_000 + "}}", "`usage` must be JSON"),
        ('{"usage_of":"a","usage":{"input_tokens":' + "9" * 5_000 + "}}", "`usage` must be JSON"),
        ('{"usage_of":"a","usage":{"x":' + "[" * 5_000 + "]" * 5_000 + "}}", "recursion"),
    ],
)
def test_a_line_that_is_no_request_is_named_by_its_number_and_the_rest_goes_on(tmp_path, line, why):
    first, second, third = items(tmp_path, own(), line, own(at=1))
    assert isinstance(first, Captured)
    assert isinstance(third, Captured)
    assert isinstance(second, Mistake)
    assert second.number == 2
    assert why in second.why


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":1,"path":"/v1/messages","body":{},"\xff":1}',
        b'{"at":1,"path":"\xff","body":{}}',
        b'{"at":1,"path":"/v1/messages","body":{"model":"\xff","signature":1}}',
        b'{"at":1,"path":"/v1/messages","body":{},"usage":{"\xff":1}}',
        b'{"usage_of":"a","usage":{"\xff":1}}',
    ],
)
def test_a_line_that_is_no_utf_8_is_named_and_the_rest_goes_on(tmp_path, line):
    path = tmp_path / "capture.jsonl"
    good = json.dumps(own(1)).encode()
    path.write_bytes(b"\n".join((good, line, good)))
    first, second, third = [each.item for each in read(path, {"m": "n"})]
    assert isinstance(first, Captured)
    assert isinstance(third, Captured)
    assert (second.number, second.why.startswith("no JSON object")) == (2, True)


@pytest.mark.parametrize(
    "said",
    [
        {"input_tokens": -5},
        {"input_tokens": 10**400},
        {"input_tokens": True},
        {"input_tokens": 5, "cache_read_input_tokens": -3},
        {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 500}},
    ],
)
def test_what_can_be_no_count_of_tokens_is_no_usage(said):
    assert reported(json.dumps(said).encode()) is None


def test_empty_lines_are_nothing(tmp_path):
    assert items(tmp_path, own(), "", "   ", own())[1:3] == [None, None]


def test_time_that_runs_backwards_is_told_with_both_lines(tmp_path):
    with pytest.raises(ConfigError, match=r"capture.jsonl:3: time runs backwards: 1 s after line 1 with 7 s"):
        items(tmp_path, own(7), "x", own(1))


def test_requests_side_by_side_may_be_written_in_another_order(tmp_path):
    assert [item.at_s for item in items(tmp_path, own(7), own(2.5), own(6), own(8))] == [7, 7, 7, 8]


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        list(read(tmp_path / "nothing"))


def test_a_log_of_the_wire_is_read_and_what_asks_no_model_is_passed_over(tmp_path):
    def wire(method="POST", path="/v1/messages?beta=true", body=None):
        return {
            "ts": 5.5,
            "seq": 1,
            "method": method,
            "path": path,
            "headers": [["Session-Id", "s"], ["x-api-key", "k"]],
            "status": 200,
            "body": json.dumps(BODY) if body is None else body,
        }

    found = items(tmp_path, wire("GET", "/v1/models", ""), wire(path="/v1/messages/count_tokens"), wire())
    assert found[:2] == [None, None]
    assert found[2] == Captured(
        number=3, at_s=5.5, path="/v1/messages", query="beta=true", headers={"session-id": "s"}, body=json.dumps(BODY).encode()
    )


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 64}}, Reported(100, 64)),
        ({"prompt_tokens": 100}, Reported(100, 0)),
        ({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 64}}, Reported(100, 64)),
        ({"input_tokens": 10, "cache_read_input_tokens": 80, "cache_creation_input_tokens": None}, Reported(90, 80)),
        ({"promptTokenCount": 100, "cachedContentTokenCount": 64}, Reported(100, 64)),
        ({"other": 1}, None),
        (None, None),
    ],
)
def test_usage_is_read_in_the_words_of_each_vendor(said, found):
    assert reported(json.dumps(said).encode()) == found


def test_signed_reasoning_becomes_text_where_it_stood():
    thinking = {"type": "thinking", "thinking": "so", "signature": "s"}
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    sent = {
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [thinking, {"type": "redacted_thinking", "data": "d"}, call]}]
    }
    plain = json.loads(without_signatures(json.dumps(sent).encode()))
    assert plain["messages"][1]["content"] == [{"type": "text", "text": "so"}, call]


def test_encrypted_items_and_thought_signatures_are_left_out():
    sent = {
        "input": [{"role": "user", "content": "q"}, {"type": "reasoning", "id": "rs", "encrypted_content": "x"}, {"type": "reasoning", "id": "rs2"}]
    }
    assert [item.get("id") for item in json.loads(without_signatures(json.dumps(sent).encode()))["input"]] == [None, "rs2"]
    sent = {
        "contents": [{"role": "model", "parts": [{"text": "a", "thoughtSignature": "x"}, {"functionCall": {"name": "f"}, "thoughtSignature": "x"}]}]
    }
    parts = json.loads(without_signatures(json.dumps(sent).encode()))["contents"][0]["parts"]
    assert parts[0] == {"text": "a"}
    assert parts[1]["thoughtSignature"] == "skip_thought_signature_validator"


def test_what_is_not_signed_keeps_its_bytes():
    raw = b'{"messages" : [ {"role":"user","content":"the word \\"signature\\" only"} ], "n": 1.50}'
    assert without_signatures(raw) == raw


def test_another_model_is_asked_where_that_is_said_and_all_else_keeps_its_bytes(tmp_path):
    path = tmp_path / "capture.jsonl"
    gemini = json.dumps(own(path="/v1beta/models/gemini-1.5-pro:generateContent"))
    path.write_text('{"at":1,"path":"/v1/messages","body":{"model":"old","n":1.50,"m":[1,  2]}}\n' + gemini.replace('"at": 0.0', '"at": 2') + "\n")
    first, second = [line.item for line in read(path, {"old": "new", "gemini-1.5-pro": "gemini-2.5-pro"})]
    assert first.body == b'{"model":"new","n":1.50,"m":[1,  2]}'
    assert second.path == "/v1beta/models/gemini-2.5-pro:generateContent"
