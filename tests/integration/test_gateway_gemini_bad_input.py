"""Bad input of Gemini's clients: every answer is in Google's shape, names the place in the words of the reference, and nothing is sent."""

import json
import resource

import pytest
from rig import ADMIN_KEY, Rig, call
from test_gateway_gemini import COLD, FORMS, HI, NEW, OLD, ask

GPT = "gpt-4.1"
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
}
CALL = '{"role":"model","parts":[{"functionCall":{"name":"f","args":%s}}]}'


def body(contents: str = '[{"parts":[{"text":"hi"}]}]', **members: str) -> bytes:
    fields = {"contents": contents, **members}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode("utf-8", "surrogatepass")


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def part(text: str) -> str:
    return f'[{{"role":"user","parts":[{text}]}}]'


BROKEN: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "array": (b"[]", None),
    "no closing brace": (body()[:-1], None),
    "trailing garbage": (body() + b"x", None),
    "not UTF-8": (body().replace(b"hi", b"\xff"), "contents[0]"),
    "lone surrogate": (body(part('{"text":"\\ud800"}')), None),
    "NaN": (body(generationConfig='{"temperature":NaN}'), None),
    "duplicate key": (body()[:-1] + b',"contents":[]}', "contents"),
    "one name in two spellings": (body(generationConfig="{}", generation_config="{}"), "generationConfig"),
    "one name in two spellings, in a part": (body(part('{"inlineData":{},"inline_data":{}}')), "contents[0].parts[0].inlineData"),
    "one name in two spellings, in a config": (body(generationConfig='{"topK":1,"top_k":2}'), "topK"),
    "duplicate key in a content": (body('[{"parts":[],"parts":[]}]'), "contents[0]"),
    "duplicate key in the system instruction": (body(systemInstruction='{"parts":[{"text":"a"}],"parts":[]}'), "systemInstruction"),
    "duplicate key in a tool": (body(tools='[{"functionDeclarations":[],"functionDeclarations":[]}]'), "tools[0]"),
    "duplicate key in a function": (body(tools='[{"functionDeclarations":[{"name":"a","name":"b"}]}]'), "tools[0]"),
    "depth 65": (body(part(f'{{"text":"x","x":{nested(63)}}}')), "contents[0]"),
    "depth 100,000": (body(part(f'{{"text":{nested(100_000)}}}')), None),
    "no contents": (b"{}", "contents"),
    "contents null": (body("null"), "contents"),
    "contents a string": (body('"hi"'), "contents"),
    "contents empty": (body("[]"), "contents"),
    "contents 100,000": (body("[" + ",".join(["{}"] * 100_000) + "]"), "contents"),
    "a content that is a string": (body('["hi"]'), "contents[0]"),
    "an unknown role": (body('[{"role":"system","parts":[{"text":"x"}]}]'), "contents[0].role"),
    "a role that is a number": (body('[{"role":1,"parts":[]}]'), "contents[0].role"),
    "parts a string": (body('[{"parts":"hi"}]'), "contents[0].parts"),
    "a part that is a string": (body('[{"parts":["hi"]}]'), "contents[0].parts[0]"),
    "inline data a string": (body(part('{"inlineData":"x"}')), "contents[0].parts[0].inlineData"),
    "system instruction a number": (body(systemInstruction="1"), None),
    "tools a string": (body(tools='"x"'), "tools"),
    "a tool that is a number": (body(tools="[1]"), "tools[0]"),
    "a function outside": (body(tools='[{"name":"f"}]'), "tools[0].name"),
    "a function without a name": (body(tools='[{"functionDeclarations":[{"name":""}]}]'), "tools[0].name"),
    "generation config a list": (body(generationConfig="[]"), "generationConfig"),
    "temperature a word": (body(generationConfig='{"temperature":"hot"}'), "generationConfig.temperature"),
    "an output limit of zero": (body(generationConfig='{"maxOutputTokens":0}'), "generationConfig.maxOutputTokens"),
    "an output limit of 1e99": (body(generationConfig='{"maxOutputTokens":1e99}'), "generationConfig.maxOutputTokens"),
    "half a candidate": (body(generationConfig='{"candidateCount":1.5}'), "generationConfig.candidateCount"),
    "a mark that is none": (body(part('{"text":"x","cache_control":{"type":"forever"}}')), "contents[0].parts[0].cache_control"),
    "an extension that means nothing": (body(**{"x-cache": '"maybe"'}), "x-cache"),
    "blank": (b"  \n", None),
    "null": (b"null", None),
    "string": (b'"x"', None),
    "number": (b"1", None),
    "trailing comma": (body()[:-1] + b",}", None),
    "two documents": (body() * 2, None),
    "comment": (b"/* hi */" + body(), None),
    "single quotes": (b"{'contents': []}", None),
    "byte order mark": (b"\xef\xbb\xbf" + body(), None),
    "UTF-16": (body().decode().encode("utf-16"), None),
    "not UTF-8, in a key": (body().replace(b'"text"', b'"t\xff"'), "contents[0]"),
    "overlong UTF-8": (body().replace(b"hi", b"\xc0\xaf"), "contents[0]"),
    "surrogate in UTF-8": (body(part('{"text":"\ud800"}')), "contents[0]"),
    "lone low surrogate": (body(part('{"text":"a\\udc00b"}')), None),
    "swapped surrogates": (body(part('{"text":"\\udc00\\ud800"}')), None),
    "lone surrogate in the model": (body(model='"models/\\ud800"'), None),
    "control character in a string": (body().replace(b"hi", b"h\x00i"), None),
    "Infinity": (body(generationConfig='{"topP":Infinity}'), None),
    "leading zero": (body(generationConfig='{"seed":01}'), None),
    "hexadecimal": (body(generationConfig='{"seed":0x10}'), None),
    "duplicate key, equal values": (body()[:-1] + b',"model":"a","model":"a"}', "model"),
    "duplicate key, escaped": (body()[:-1] + b',"c\\u006fntents":[]}', "contents"),
    "duplicate key in a part, escaped": (body('[{"parts":[{"text":"a","t\\u0065xt":"b"}]}]'), "contents[0]"),
    "duplicate key deep in arguments": (body("[" + CALL % '{"a":{"b":1,"b":2}}' + "]"), "contents[0]"),
    "duplicate key deep in a function": (body(tools='[{"functionDeclarations":[{"name":"f","parameters":{"a":{"b":1,"b":2}}}]}]'), "tools[0]"),
    "duplicate key in a parameter": (body(labels='{"a":"1","a":"2"}'), "labels"),
    "duplicate key in a config": (body(generationConfig='{"topK":1,"topK":1}'), "generationConfig"),
    "depth 65 in a parameter": (body(labels=nested(64)), "labels"),
    "depth 100,000 at the top": (nested(100_000).encode(), None),
    "depth 100,000 of objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, None),
    "depth 100,000 in an extension": (body(**{"x-edits-off": nested(100_000)}), None),
    "depth 100,000 in a config": (body(generationConfig='{"topP":' + nested(100_000) + "}"), None),
    "depth 100,000 in the system instruction": (body(systemInstruction='{"parts":[{"text":' + nested(100_000) + "}]}"), None),
    "depth 100,000 in a function": (body(tools='[{"functionDeclarations":[' + nested(100_000) + "]}]"), None),
    "a content that is null": (body("[null]"), "contents[0]"),
    "a content that is a list": (body("[[]]"), "contents[0]"),
    "a content that is a number": (body("[1]"), "contents[0]"),
    "the second content": (body('[{"parts":[{"text":"a"}]},1]'), "contents[1]"),
    "a role that is a list": (body('[{"role":["user"],"parts":[{"text":"x"}]}]'), "contents[0].role"),
    "a role that is an object": (body('[{"role":{},"parts":[{"text":"x"}]}]'), "contents[0].role"),
    "a huge role": (body(f'[{{"role":"{"w" * 100_000}","parts":[]}}]'), "contents[0].role"),
    "parts a number": (body('[{"parts":1}]'), "contents[0].parts"),
    "a part that is null": (body('[{"parts":[null]}]'), "contents[0].parts[0]"),
    "a part that is a list": (body('[{"parts":[{"text":"a"},[]]}]'), "contents[0].parts[1]"),
    "a call that is a string": (body('[{"role":"model","parts":[{"functionCall":"f"}]}]'), "contents[0].parts[0].functionCall"),
    "a result that is a string": (body(part('{"functionResponse":"f"}')), "contents[0].parts[0].functionResponse"),
    "parts of a result a string": (
        body(part('{"functionResponse":{"name":"f","parts":"x"}}')),
        "contents[0].parts[0].functionResponse.parts",
    ),
    "parts of a result that are strings": (
        body(part('{"function_response":{"name":"f","parts":["x"]}}')),
        "contents[0].parts[0].functionResponse.parts[0]",
    ),
    "a mark that is a string": (body(part('{"text":"x","cache_control":"yes"}')), "contents[0].parts[0].cache_control"),
    "a mark with a lifetime of its own": (
        body(part('{"text":"x","cacheControl":{"type":"ephemeral","ttl":"9d"}}')),
        "contents[0].parts[0].cache_control.ttl",
    ),
    "a mark whose lifetime is a list": (
        body(part('{"text":"x","cache_control":{"type":"ephemeral","ttl":["5m"]}}')),
        "contents[0].parts[0].cache_control.ttl",
    ),
    "a mark of OpenAI's that is none": (
        body(part('{"text":"x","prompt_cache_breakpoint":{"mode":"?"}}')),
        "contents[0].parts[0].prompt_cache_breakpoint",
    ),
    "system instruction a list": (body(systemInstruction="[]"), "systemInstruction.parts[0]"),
    "parts of the system instruction a string": (body(systemInstruction='{"parts":"x"}'), "systemInstruction.parts"),
    "parts of the system instruction that are strings": (body(systemInstruction='{"parts":["x"]}'), "systemInstruction.parts[0]"),
    "parts of the system instruction that are null": (body(system_instruction='{"parts":[{"text":"a"},null]}'), "systemInstruction.parts[1]"),
    "tools a number": (body(tools="1"), "tools"),
    "a tool that is null": (body(tools="[null]"), "tools[0]"),
    "a tool that is a string": (body(tools='["f"]'), "tools[0]"),
    "functions a string": (body(tools='[{"functionDeclarations":"f"}]'), "tools[0].functionDeclarations"),
    "a function that is null": (body(tools='[{"functionDeclarations":[null]}]'), "tools[0]"),
    "a function whose name is a number": (body(tools='[{"functionDeclarations":[{"name":1}]}]'), "tools[0].name"),
    "model a number": (body(model="4"), "model"),
    "model a list": (body(model='["x"]'), "model"),
    "model another than the path's": (body(model='"models/other"'), "model"),
    "temperature a flag": (body(generationConfig='{"temperature":true}'), "generationConfig.temperature"),
    "temperature a list": (body(generationConfig='{"temperature":[0]}'), "generationConfig.temperature"),
    "temperature of 5,000 digits": (body(generationConfig='{"temperature":' + "9" * 5000 + "}"), "generationConfig"),
    "temperature 1e400": (body(generationConfig='{"temperature":1e400}'), "generationConfig.temperature"),
    "temperature -1e400": (body(generationConfig='{"temperature":-1e400}'), "generationConfig.temperature"),
    "no candidate": (body(generationConfig='{"candidateCount":0}'), "generationConfig.candidateCount"),
    "candidates a flag": (body(generationConfig='{"candidateCount":true}'), "generationConfig.candidateCount"),
    "an output limit below zero": (body(generationConfig='{"maxOutputTokens":-1}'), "generationConfig.maxOutputTokens"),
    "an output limit of 2^63": (body(generationConfig=f'{{"maxOutputTokens":{1 << 63}}}'), "generationConfig.maxOutputTokens"),
    "an output limit that is a word": (body(generationConfig='{"maxOutputTokens":"ten"}'), "generationConfig.maxOutputTokens"),
    "an output limit of 5,000 digits": (body(generationConfig='{"maxOutputTokens":' + "9" * 5000 + "}"), "generationConfig"),
    "seed of 5,000 digits": (body(generationConfig='{"seed":' + "9" * 5000 + "}"), "generationConfig"),
    "thinking config a string": (body(generationConfig='{"thinkingConfig":"x"}'), "generationConfig.thinkingConfig"),
    "generation config a string": (body(generationConfig='"x"'), "generationConfig"),
    "tool config a string": (body(toolConfig='"x"'), "toolConfig"),
    "calling config a string": (body(tool_config='{"function_calling_config":"x"}'), "toolConfig.functionCallingConfig"),
    "a member that is spelled like the model of the path": (body(**{":model": '"x"'}), ":model"),
    "a member that is spelled like the query": (body(**{":query": '"alt=sse"'}), ":query"),
    "cache mode a list": (body(**{"x-cache": "[]"}), "x-cache"),
    "unknown edit": (body(**{"x-edits-off": '"everything"'}), "x-edits-off"),
    "an edit that is an object": (body(**{"x-edits-off": '{"a":1}'}), "x-edits-off"),
    "metadata wish a number": (body(**{"x-metadata": "3"}), "x-metadata"),
}
NOT_CARRIED: dict[str, tuple[bytes, str]] = {
    # what the vendor itself would judge, and what a translation has to understand
    "text a number": (body(part('{"text":1}')), "contents[0].parts[0].text"),
    "data a number": (body(part('{"inlineData":{"mimeType":"image/png","data":1}}')), "contents[0].parts[0].inlineData.data"),
    "data that is no base64": (body(part('{"inlineData":{"mimeType":"image/png","data":"*"}}')), "contents[0].parts[0].inlineData.data"),
    "a media type that is a number": (body(part('{"inlineData":{"mimeType":1,"data":"AAAA"}}')), "contents[0].parts[0].inlineData.mimeType"),
    "a result without its call": (body(part('{"functionResponse":{"name":"f","response":{}}}')), "contents[0].parts[0].functionResponse"),
    "a call of the user's": (body(part('{"functionCall":{"name":"f"}}')), "contents[0].parts[0].functionCall"),
    "a call without a name": (body('[{"role":"model","parts":[{"functionCall":{"args":{}}}]}]'), "contents[0].parts[0].functionCall.name"),
    "a part of a kind to come": (body(part('{"hologram":{}}')), "contents[0].parts[0].hologram"),
    "parameters a string": (body(tools='[{"functionDeclarations":[{"name":"f","parameters":"x"}]}]'), "tools[0].parameters"),
    "top_k a list": (body(generationConfig='{"top_k":[1]}'), "generationConfig.topK"),
    "seed a word": (body(generationConfig='{"seed":"x"}'), "generationConfig.seed"),
    "stops a string": (body(generationConfig='{"stopSequences":"x"}'), "generationConfig.stopSequences"),
    "stops of numbers": (body(generationConfig='{"stopSequences":[1]}'), "generationConfig.stopSequences"),
    "a budget that is a word": (body(generationConfig='{"thinkingConfig":{"thinkingBudget":"x"}}'), "generationConfig.thinkingConfig.thinkingBudget"),
    "a level that is a number": (body(generationConfig='{"thinkingConfig":{"thinkingLevel":1}}'), "generationConfig.thinkingConfig.thinkingLevel"),
    "a flag that is a word": (body(generationConfig='{"thinkingConfig":{"includeThoughts":"x"}}'), "generationConfig.thinkingConfig.includeThoughts"),
    "a schema that is a string": (
        body(generationConfig='{"responseMimeType":"application/json","responseSchema":"x"}'),
        "generationConfig.responseSchema",
    ),
    "an answer in a form to come": (body(generationConfig='{"responseMimeType":"text/x.enum"}'), "generationConfig.responseMimeType"),
    "a mode that is a number": (body(toolConfig='{"functionCallingConfig":{"mode":1}}'), "toolConfig.functionCallingConfig.mode"),
    "allowed functions a string": (
        body(toolConfig='{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":"f"}}'),
        "toolConfig.functionCallingConfig.allowedFunctionNames",
    ),
}
UNSERVED: dict[str, tuple[dict, str]] = {
    "cached content": ({"cachedContent": "cachedContents/x"}, "cachedContent"),
    "speech": ({"generationConfig": {"speechConfig": {}}}, "generationConfig.speechConfig"),
    "pictures": ({"generation_config": {"response_modalities": ["TEXT", "IMAGE"]}}, "generationConfig.responseModalities"),
    "another model": ({"generationConfig": {"routingConfig": {}}}, "generationConfig.routingConfig"),
    "a continuation": ({"continuationToken": "eA=="}, "continuationToken"),
    "a tier": ({"serviceTier": "ultrafast"}, "serviceTier"),
    "search": ({"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
    "search, beside functions": ({"tools": [{"google_search": {}, "functionDeclarations": []}]}, "tools[0].googleSearch"),
    "maps": ({"tools": [{"googleMaps": {}}]}, "tools[0].googleMaps"),
    "pages": ({"tools": [{"url_context": {}}]}, "tools[0].urlContext"),
    "file stores": ({"tools": [{"fileSearch": {"fileSearchStoreNames": ["x"]}}]}, "tools[0].fileSearch"),
    "what is not known": ({"tools": [{"futureTool": {}}]}, "tools[0].futureTool"),
    "an uploaded file": (
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}]}]},
        "contents[0]",
    ),
    "a file by its name": ({"contents": [{"parts": [{"file_data": {"file_uri": "files/abc"}}]}]}, "contents[0]"),
    "an object in a bucket": ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://bucket/x"}}]}]}, "contents[0]"),
    "a file in a result": (
        {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": {"fileUri": "files/x"}}]}}]}]},
        "contents[0]",
    ),
}


def wrong(answer) -> dict:
    """A well-formed error of Google's; returns it with the field that it is about."""
    error = answer.error
    assert error["code"] == answer.status
    assert error["message"]
    assert error["status"] == _WORDS[answer.status]
    fields = [violation["field"] for detail in error["details"] for violation in detail.get("fieldViolations", ())]
    return {**error, "field": fields[0] if fields else None}


@pytest.mark.parametrize("name", BROKEN)
async def test_bad_input_is_refused_in_googles_shape_and_nothing_is_sent(rig: Rig, name: str):
    data, field = BROKEN[name]
    for method, query in FORMS:
        answer = await ask(rig, OLD, data, method, query)
        assert answer.status == 400
        error = wrong(answer)
        if field is not None:
            assert error["field"] == field
    assert rig.sandbox.requests.seen == 0
    assert (await ask(rig, OLD, HI)).status == 200


@pytest.mark.parametrize("name", NOT_CARRIED)
async def test_what_a_translation_can_not_understand_is_refused_by_name(rig: Rig, name: str):
    data, field = NOT_CARRIED[name]
    for method, query in FORMS:
        answer = await ask(rig, GPT, data, method, query)
        assert (answer.status, wrong(answer)["field"]) == (400, field)
    assert rig.sandbox.requests.seen == 0


async def test_broken_pieces_are_refused_again_when_they_were_seen_before(rig: Rig):
    """Pieces are remembered by their bytes; a refusal must not be."""
    for _ in range(2):
        for name in ("duplicate key in a content", "lone surrogate", "an unknown role", "depth 65", "temperature a word"):
            assert (await ask(rig, OLD, BROKEN[name][0])).status == 400


@pytest.mark.parametrize("method", ["countTokens", "embedContent", "batchEmbedContents"])
async def test_other_methods_refuse_in_the_same_shape(rig: Rig, method: str):
    model = OLD if method == "countTokens" else "gemini-embedding-001"
    common = [b"", b"[]", body()[:-1], b"{}", body() + b"x", nested(100_000).encode(), b'{"a":' * 100_000 + b"1" + b"}" * 100_000]
    own: dict[str, list[tuple[str, str]]] = {
        "countTokens": [
            ('{"contents":"x"}', "contents"),
            ('{"contents":[{"parts":[{"text":"a"}]}],"generateContentRequest":{"contents":[]}}', "contents"),
            ('{"generateContentRequest":{"contents":[1]}}', "contents[0]"),
            ('{"generateContentRequest":{"model":"models/other","contents":[{"parts":[{"text":"a"}]}]}}', "model"),
        ],
        "embedContent": [
            ('{"content":"x"}', "requests[0]"),
            ('{"content":{"parts":["x"]}}', "requests[0].parts[0]"),
            ('{"content":{"parts":[{"inlineData":{}}]}}', "requests[0].parts[0]"),
            ('{"content":{},"content":{}}', "content"),
            ('{"content":{},":query":"a"}', ":query"),
        ],
        "batchEmbedContents": [
            ('{"requests":"x"}', "requests"),
            ('{"requests":[]}', "requests"),
            ('{"requests":[1]}', "requests[0]"),
            ('{"requests":[{"content":{"parts":[{"text":"a"}]}},{}]}', "requests[1].content"),
            ('{"requests":[{"content":{"parts":[{"text":1}]}}]}', "requests[0].content.parts[0]"),
            ('{"requests":[' + ",".join(["{}"] * 10_001) + "]}", "requests"),
        ],
    }
    for raw in common:
        assert wrong(await ask(rig, model, raw, method))["status"] == "INVALID_ARGUMENT"
    for text, field in own[method]:
        assert wrong(await ask(rig, model, text.encode(), method))["field"] == field, text
    assert rig.sandbox.requests.seen == 0


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("nobody-knows-this", 404),
        ("nobody/knows", 404),
        ("../../etc/passwd", 404),
        ("gpt-4.1\r\nx-evil: 1", 404),
        ("m" * 257, 400),
        ("openai/gpt-unpriced-42", 404),
        ("%00", 404),
    ],
)
async def test_a_model_that_is_none_is_refused_by_name(rig: Rig, model: str, status: int):
    for method, query in FORMS:
        answer = await ask(rig, model, HI, method, query)
        assert (answer.status, wrong(answer)["field"]) == (status, "model")
        assert "x-evil" not in answer.headers
    assert all(item.path.startswith("/api/") for item in rig.sandbox.requests.items), "nothing but what a local server has is looked up"


@pytest.mark.parametrize("name", UNSERVED)
async def test_what_has_no_known_price_or_owner_is_refused_by_name(rig: Rig, name: str):
    fields, field = UNSERVED[name]
    for model in (NEW, "gpt-4.1"):
        answer = await ask(rig, model, {**HI, **fields})
        assert answer.status == 400
        assert wrong(answer)["field"] == field
    assert rig.sandbox.requests.seen == 0


async def test_running_code_is_billed_in_tokens_and_so_it_is_served_but_never_kept(rig: Rig):
    code = {**COLD, "tools": [{"codeExecution": {}}]}
    assert [(await ask(rig, NEW, code)).cache for _ in range(2)] == ["bypass", "bypass"]
    assert wrong(await ask(rig, "gpt-4.1", code))["field"] == "tools[0].codeExecution"


async def test_addresses_on_the_web_are_served_and_never_kept(rig: Rig):
    film = {"contents": [{"parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}}, {"text": "what?"}]}]}
    assert [(await ask(rig, NEW, {**COLD, **film})).cache for _ in range(2)] == ["bypass", "bypass"]


@pytest.mark.parametrize("query", ["?alt=proto", "?alt=media", "?alt=sse&alt=json", "?%24alt=proto"])
async def test_a_form_that_is_not_read_here_is_refused(rig: Rig, query: str):
    assert wrong(await ask(rig, OLD, HI, "streamGenerateContent", query))["field"] == "alt"


async def test_other_methods_of_the_api_are_not_here(rig: Rig):
    assert wrong(await ask(rig, OLD, HI, "predict"))["status"] == "NOT_FOUND"
    answer = await call(rig.app, "GET", f"/v1beta/models/{OLD}:generateContent", b"", {"x-goog-api-key": rig.key})
    assert wrong(answer)["status"] == "UNIMPLEMENTED"


async def test_the_path_takes_post_only_and_says_so(rig: Rig):
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = await call(rig.app, method, f"/v1beta/models/{OLD}:generateContent", b"", {"x-goog-api-key": rig.key})
        assert (wrong(answer)["code"], answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1beta/models/x:predict", 404),
        ("POST", "/v1/models/x:predict", 404),
        ("POST", "/v1beta/models/x", 405),
        ("POST", "/v1beta/models", 405),
        ("GET", "/v1beta", 404),
        ("GET", "/v1beta/cachedContents", 404),
        ("POST", "/v1beta/files", 404),
        ("GET", "/v1beta/" + "x" * 10_000, 404),
    ],
)
async def test_unknown_places_are_refused_in_the_same_shape(rig: Rig, method: str, path: str, status: int):
    assert wrong(await call(rig.app, method, path, b"{}", {"x-goog-api-key": rig.key}))["code"] == status


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, gzip", "x" * 5000])
async def test_a_coded_body_is_refused_by_its_coding(rig: Rig, coding: str):
    assert wrong(await ask(rig, OLD, HI, headers={"content-encoding": coding}))["code"] == 415
    assert (await ask(rig, OLD, HI, headers={"content-encoding": "Identity"})).status == 200


async def test_a_body_that_is_too_large_is_refused_without_being_kept(rig: Rig):
    piece = b"x" * (1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await call(rig.app, "POST", f"/v1beta/models/{OLD}:generateContent", [piece] * 64, {"x-goog-api-key": rig.key})
    error = wrong(answer)
    assert (error["code"], "BODY_LIMIT_MB" in error["message"]) == (413, True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 80 << 10  # KB


async def test_a_body_in_many_small_pieces_of_any_content_type_is_read(rig: Rig):
    raw = json.dumps(HI).encode()
    for kind in ("text/plain", "application/json; charset=latin-1", ""):
        headers = {"x-goog-api-key": rig.key, "content-type": kind}
        pieces = [raw[at : at + 1] for at in range(len(raw))]
        assert (await call(rig.app, "POST", f"/v1beta/models/{OLD}:generateContent", pieces, headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-goog-api-key": ""},
        {"x-goog-api-key": "AIzaSomebodyElses"},
        {"x-goog-api-key": "sk-tr-000000000000-" + "x" * 43},
        {"x-goog-api-key": "k" * 1_000_000},
        {"x-goog-api-key": "\xff\xfe\x00"},
        {"x-goog-api-key": ADMIN_KEY},
        {"authorization": "Bearer ya29.somebodys"},
    ],
)
async def test_without_a_valid_key_nobody_gets_anything(rig: Rig, headers: dict):
    raw = json.dumps(HI).encode()
    for method, path in (("POST", f"/v1beta/models/{OLD}:generateContent"), ("GET", "/v1beta/models"), ("GET", f"/v1beta/models/{OLD}")):
        error = wrong(await call(rig.app, method, path, raw if method == "POST" else b"", headers))
        assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
        assert not {"xxxx", "kkkk"} & set(error["message"].split())
    for query in ("?key=", "?key=AIzaNobodys", "?key=%00"):
        assert (await call(rig.app, "POST", f"/v1beta/models/{OLD}:generateContent{query}", raw)).status == 401
    assert rig.sandbox.requests.seen == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {"a\r\nx-evil": "1\r\nset-cookie: a=b"}},
        {"contents": [{"parts": [{"text": "a\u0000b \U0001f600 \u202e \u200b"}]}]},
        {"contents": [{"parts": [{"text": ""}]}]},
        {"contents": [{"parts": [{"text": "x" * 1_000_000}]}]},
        {"systemInstruction": {"parts": [{"text": "x-anthropic-billing-header: " + "a=b; " * 100_000}]}},
        {"generationConfig": {"seed": 2**53 + 1}},
        {"unknownField": {"a": [1, 2.50]}},
        dict.fromkeys(["bad\r\nset-cookie: a=b", "täst", "nul\0", "a,b", "x" * 100_000, "\u2028"], 1),
    ],
)
@pytest.mark.parametrize("model", [OLD, GPT, "claude-sonnet-4-5"])
async def test_odd_requests_are_answered_or_refused_never_broken(rig: Rig, model: str, fields: dict):
    answer = await ask(rig, model, {**HI, **fields})
    if answer.status != 200:
        assert 400 <= answer.error["code"] == answer.status < 500
    for name, value in answer.raw_headers:
        assert not set(name + value) & set(b"\r\n\0"), name
        assert len(value) < 8_000
    assert "x-evil" not in answer.headers


async def test_a_failure_of_our_own_is_a_500_in_the_same_shape_and_the_next_request_works(rig: Rig, caplog):
    memos = rig.services.memos
    rig.set(memos=None)
    for method, query in FORMS:
        answer = await ask(rig, OLD, HI, method, query)
        assert (answer.status, answer.error["status"]) == (500, "INTERNAL")
        assert "NoneType" not in answer.body.decode()
    rig.set(memos=memos)
    assert (await ask(rig, OLD, HI)).status == 200
    assert rig.held() == 0
