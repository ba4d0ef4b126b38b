"""Bad input in every dialect: an error in the dialect's own shape, below 500, and the gateway goes on."""

import json

import pytest
from clients import speaking
from rig import Response, Rig, call
from speaking import Client, encode

pytestmark = pytest.mark.asyncio(loop_scope="module")
MODEL = "openai/gpt-4.1"
CLIENTS = [pytest.param(client, id=client.name) for client in speaking()]
DEEP = 100_000


def member(body: bytes, more: bytes) -> bytes:
    """The body with another member at its end."""
    return body[:-1] + b"," + more + b"}"


# From a good body that says "hello" once.
BROKEN = {
    "empty": lambda body: b"",
    "blank": lambda body: b"  \n",
    "null": lambda body: b"null",
    "array": lambda body: b"[]",
    "array of a good body": lambda body: b"[" + body + b"]",
    "string": lambda body: b'"x"',
    "number": lambda body: b"1",
    "empty object": lambda body: b"{}",
    "no closing brace": lambda body: body[:-1],
    "trailing comma": lambda body: body[:-1] + b",}",
    "trailing garbage": lambda body: body + b"x",
    "two documents": lambda body: body * 2,
    "comment": lambda body: b"/* hi */" + body,
    "single quotes": lambda body: body.replace(b'"', b"'"),
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "not UTF-8, in a text": lambda body: body.replace(b"hello", b"\xff\xfe"),
    "overlong UTF-8": lambda body: body.replace(b"hello", b"\xc0\xaf"),
    "surrogate in UTF-8": lambda body: body.replace(b"hello", "\ud800".encode("utf-8", "surrogatepass")),
    "lone surrogate": lambda body: body.replace(b"hello", b"\\ud800"),
    "swapped surrogates": lambda body: body.replace(b"hello", b"\\udc00\\ud800"),
    "control character": lambda body: body.replace(b"hello", b"h\x00i"),
    "NaN": lambda body: member(body, b'"temperature":NaN'),
    "Infinity": lambda body: member(body, b'"temperature":-Infinity'),
    "leading zero": lambda body: member(body, b'"seed":01'),
    "hexadecimal": lambda body: member(body, b'"seed":0x10'),
    "duplicate key": lambda body: member(body, b'"tools":[],"tools":null'),
    "duplicate key, escaped": lambda body: member(body, b'"tools":[],"t\\u006fols":[]'),
    "duplicate key, deep": lambda body: member(body, b'"metadata":{"a":{"b":1,"b":2}}'),
    "duplicate key in a message": lambda body: body.replace(b'"role":', b'"role":"user","role":'),
    "deep array": lambda body: member(body, b'"metadata":' + b"[" * DEEP + b"]" * DEEP),
    "deep object": lambda body: b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep text": lambda body: body.replace(b'"hello"', b"[" * DEEP + b"]" * DEEP),
    "text a number": lambda body: body.replace(b'"hello"', b"1"),
    "text an object": lambda body: body.replace(b'"hello"', b'{"a":1}'),
    "role a list": lambda body: body.replace(b'"user"', b'["user"]'),
    "unknown role": lambda body: body.replace(b'"user"', b'"wizard"'),
    "tools a string": lambda body: member(body, b'"tools":"f"'),
    "tools of null": lambda body: member(body, b'"tools":[null]'),
    "tools of strings": lambda body: member(body, b'"tools":["f"]'),
    "wish unknown": lambda body: member(body, b'"x-cache":"sometimes"'),
    "wish deep": lambda body: member(body, b'"x-edits-off":' + b"[" * DEEP + b"]" * DEEP),
}  # fmt: skip
OF_TURNS = frozenset(("duplicate key in a message", "role a list", "unknown role", "tools a string", "tools of null", "tools of strings"))
WRONG_TYPES = (b"null", b"{}", b"[]", b'"x"', b"[null]", b'["x"]', b"[[]]", b"0", b"true", b"[1]", b"-1", b"1e400", b"9" * 5000)


async def ask(rig: Rig, client: Client, raw: bytes, *, model: str = MODEL, method: str = "POST", key: str | None = None, **headers: str) -> Response:
    credential = {"authorization": f"Bearer {rig.key if key is None else key}"}
    return await call(rig.app, method, client.path(model, False), raw, {**credential, **headers})


def good(client: Client, model: str = MODEL) -> bytes:
    return encode(client.body(model, False))


def wrong(client: Client, answer: Response) -> tuple[str, str]:
    """Message and place, after checking the shape."""
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.headers["content-type"].startswith("application/json")
    message, param = client.error(answer.body)
    assert 0 < len(message) < 3000
    assert "Traceback" not in message
    return message, param


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_body_is_refused_in_the_dialects_own_shape(rig: Rig, client: Client, name: str):
    if name in OF_TURNS and not client.calls:
        pytest.skip("the dialect has no turns and no tools")
    raw = BROKEN[name](good(client))
    assert raw != good(client)
    before = rig.sandbox.requests.seen
    for _ in range(2):  # pieces are remembered by their bytes; a refusal must not be
        answer = await ask(rig, client, raw)
        assert answer.status == 400, (answer.status, answer.body[:300])
        wrong(client, answer)
    assert rig.sandbox.requests.seen == before
    assert rig.held() == 0
    assert (await ask(rig, client, good(client))).status == 200


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_value_of_a_wrong_type_is_a_failure_of_the_gateway(rig: Rig, client: Client):
    """Every top-level field that this suite knows of, and every member of the first message, with values of every type."""
    names = {name for said in client.says.values() for name in said.fields}
    plain = good(client)
    bodies = [member(plain, b'"' + name.encode() + b'":' + value) for name in sorted(names - set(client.body(MODEL, False))) for value in WRONG_TYPES]
    bodies += [plain.replace(b'"hello"', value) for value in WRONG_TYPES]
    bodies += [plain.replace(b'[{"role"', b"[" + value + b',{"role"') for value in WRONG_TYPES]
    for raw in bodies:
        answer = await ask(rig, client, raw)
        if answer.status != 200:
            wrong(client, answer)
    assert rig.held() == 0
    assert (await ask(rig, client, plain)).status == 200


@pytest.mark.parametrize("model", [MODEL, "anthropic/claude-sonnet-4-5"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_no_value_deep_inside_is_a_failure_of_the_gateway(rig: Rig, client: Client, model: str):
    """Every feature of the matrix with each of its inner values replaced; on a native lane and in translation."""
    for said in client.says.values():
        for raw in replaced(client.request(model, said.fields, stream=False)):
            answer = await ask(rig, client, raw, model=model)
            if answer.status != 200:
                wrong(client, answer)
    assert rig.held() == 0


def replaced(plain: bytes) -> list[bytes]:
    """The body with each of its values, one at a time, replaced by one of another type."""
    found: list[bytes] = []

    def visit(value: object, rebuild) -> None:
        other = [None, 1, "x", [], {}, [None]][len(found) % 6]
        found.append(json.dumps(rebuild(other)).encode())
        if isinstance(value, dict):
            for name, inner in value.items():
                visit(inner, lambda new, name=name, value=value: rebuild({**value, name: new}))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                visit(inner, lambda new, index=index, value=value: rebuild([*value[:index], new, *value[index + 1 :]]))

    whole = json.loads(plain)
    for name, inner in whole.items():
        if name != "model":
            visit(inner, lambda new, name=name: {**whole, name: new})
    return found


@pytest.mark.parametrize("client", CLIENTS)
async def test_without_a_valid_key_nobody_gets_anything(rig: Rig, client: Client):
    before = rig.sandbox.requests.seen
    for key in ("", "sk-tr-", "sk-proj-somebody-elses", rig.key[:-1], "k" * 100_000):
        answer = await ask(rig, client, good(client), key=key)
        assert answer.status == 401
        message, _ = wrong(client, answer)
        assert "kkkk" not in message
    assert rig.sandbox.requests.seen == before


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_key_is_taken_wherever_an_sdk_puts_it(rig: Rig, client: Client):
    for headers in ({"x-api-key": rig.key}, {"x-goog-api-key": rig.key}, {"api-key": rig.key}):
        assert (await call(rig.app, "POST", client.path(MODEL, False), good(client), headers)).status == 200
    path = client.path(MODEL, False)
    assert (await call(rig.app, "POST", f"{path}?key={rig.key}", good(client))).status == 200


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_unknown_model_is_not_found(rig: Rig, client: Client):
    for model in ("nobody-knows-this", "nobody/knows"):
        answer = await ask(rig, client, good(client, model), model=model)
        assert answer.status == 404
        assert model in wrong(client, answer)[0]


@pytest.mark.parametrize("client", CLIENTS)
async def test_too_large_too_odd_and_the_wrong_method_are_refused(rig: Rig, client: Client):
    large = await ask(rig, client, b"x" * (33 << 20))
    assert large.status == 413
    assert "BODY_LIMIT_MB" in wrong(client, large)[0]
    coded = await ask(rig, client, good(client), **{"content-encoding": "br"})
    assert coded.status == 415
    wrong(client, coded)
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await ask(rig, client, b"", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        wrong(client, answer)
    assert (await ask(rig, client, good(client))).status == 200
