"""How hosts are shown who asks: Amazon's signatures as the simulator checks them, Google's tokens from a file or the machine, renewal in time."""

import asyncio
import json
import logging
import threading
import time
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth import exceptions
from support import settings

from tokenrouter.catalog.loader import load_catalog
from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.sandbox.bedrock_sigv4 import SECRET, verify
from tokenrouter.sandbox.wire import Call, Refusal
from tokenrouter.upstream.credentials import Credentials
from tokenrouter.upstream.renewed import Fetched, Renewed

URL = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.anthropic.claude-opus-4-6-v1%3A0/converse"
PLAIN = (("content-type", "application/json"),)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAONE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-west-1"}
VERTEX = {"VERTEX_PROJECT": "p", "VERTEX_LOCATION": "global"}


def deployment(model="bedrock/us.anthropic.claude-opus-4-6-v1:0", **environ):
    return load_catalog(settings(**environ)).resolve(model).deployments[0]


async def shown(found, body=b"{}", *, url=URL, clock=None, credentials=None):
    return await (credentials or Credentials(clock or ManualClock())).headers(found, url, PLAIN, body)


def judged(headers, body=b"{}", url=URL):
    """Whether Amazon would take the signature: over this address, these headers, this body."""
    parts = urlsplit(url)
    sent = {"host": parts.netloc, **dict(headers)}
    call = Call(method="POST", path=parts.path, query=parts.query, headers=sent, body=body, account="", request_id="", number=0, started_ns=0,
                omit_usage=False, raw_path=parts.path)  # fmt: skip
    try:
        verify(call)
    except Refusal as refusal:
        return refusal.message
    return None


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


# -- Amazon ----------------------------------------------------------------------------------------------------------------------------


async def test_a_request_is_signed_over_its_address_headers_and_body():
    headers = await shown(deployment(**KEYS))
    assert dict(headers)["content-type"] == "application/json"
    assert "Credential=AKIAONE/" in dict(headers)["authorization"]
    assert "/eu-west-1/bedrock/aws4_request" in dict(headers)["authorization"]
    assert judged(headers) is None
    assert "does not match" in judged(headers, b"{ }")
    assert "does not match" in judged(headers, url=URL + "-stream")
    assert "does not match" in judged(headers, url=URL.replace("%3A", ":"))
    assert SECRET not in str(headers)


async def test_the_body_of_any_size_is_signed():
    body = b'{"x":"' + b"x" * (1 << 19) + b'"}'
    headers = await shown(deployment(**KEYS), body)
    assert judged(headers, body) is None
    assert "does not match" in judged(headers, body[:-2] + b'"}}')


async def test_another_secret_is_another_signature():
    headers = await shown(deployment(**KEYS | {"AWS_SECRET_ACCESS_KEY": "other"}))
    assert "does not match" in judged(headers)


async def test_a_session_token_is_sent_and_signed():
    headers = await shown(deployment(**KEYS, AWS_SESSION_TOKEN="session=="))
    assert dict(headers)["x-amz-security-token"] == "session=="
    assert judged(headers) is None
    assert judged([(name, "other" if name == "x-amz-security-token" else value) for name, value in headers]) is not None


async def test_the_second_name_of_the_region_serves_too():
    named = {name: value for name, value in KEYS.items() if name != "AWS_REGION"}
    found = deployment(**named, AWS_DEFAULT_REGION="eu-west-1")
    assert found.endpoints[0].base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert judged(await shown(found)) is None


async def test_an_api_key_of_bedrocks_goes_as_a_bearer_and_before_other_keys():
    headers = await shown(deployment(**KEYS, AWS_BEARER_TOKEN_BEDROCK="bedrock-api-key"))
    assert headers == (*PLAIN, ("authorization", "Bearer bedrock-api-key"))


async def test_several_accounts_sign_each_with_its_own_key():
    several = {**KEYS, "AWS_ACCESS_KEY_ID": "AKIAONE,AKIATWO", "AWS_SECRET_ACCESS_KEY": f"{SECRET},{SECRET}"}
    found = load_catalog(settings(**several)).resolve("bedrock/amazon.nova-pro-v1:0").deployments
    credentials = Credentials(ManualClock())
    signed = [dict(await shown(one, credentials=credentials))["authorization"] for one in (*found, found[0])]
    assert [header.split("Credential=")[1].split("/")[0] for header in signed] == ["AKIAONE", "AKIATWO", "AKIAONE"]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAONE", "AWS_REGION": "eu-west-1"}, "AWS_SECRET_ACCESS_KEY is missing"),
        ({"AWS_PROFILE": "nobody", "AWS_REGION": "eu-west-1"}, "bedrock"),
        (
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x", "AWS_REGION": "eu-west-1"},
            "botocore finds no credentials (AWS_PROFILE, or the role of this machine)",
        ),
        (
            {**{name: value for name, value in KEYS.items() if name != "AWS_REGION"}, "BEDROCK_BASE_URL": "https://proxy.example"},
            "AWS_REGION is missing",
        ),
    ],
)
async def test_what_is_missing_is_named_and_secrets_are_not(environ, words, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable) as caught:
        await shown(deployment(**environ))
    assert words in caught.value.message
    assert caught.value.status == 503
    assert SECRET not in caught.value.message + caplog.text


async def test_a_profile_is_found_by_botocore(tmp_path):
    (tmp_path / "credentials").write_text(f"[work]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = {SECRET}\n")
    headers = await shown(deployment(AWS_PROFILE="work", AWS_REGION="eu-west-1"))
    assert "Credential=AKIAPROFILE/" in dict(headers)["authorization"]
    assert judged(headers) is None


async def test_keys_of_a_role_are_looked_at_again_before_they_expire(monkeypatch):
    asked = []

    class Role:
        def get_frozen_credentials(self):
            from botocore.credentials import ReadOnlyCredentials

            asked.append(1)
            return ReadOnlyCredentials(f"AKIA{len(asked)}", SECRET, "token")

    class Session:
        def __init__(self, profile=None):
            self.profile = profile

        def get_credentials(self):
            return Role()

    monkeypatch.setattr("botocore.session.Session", Session)
    clock = ManualClock()
    found, credentials = deployment(AWS_PROFILE="role", AWS_REGION="eu-west-1"), Credentials(clock)

    async def key():
        header = dict(await shown(found, credentials=credentials))["authorization"]
        return header.split("Credential=")[1].split("/")[0]

    assert [await key(), await key()] == ["AKIA1"] * 2
    clock.advance(61)
    assert await key() == "AKIA1"  # nobody waits for what is only renewed
    await fetched(credentials._signers)
    assert await key() == "AKIA2"
    clock.advance(301)
    assert await key() == "AKIA3"


async def fetched(sources):
    """Until no source fetches."""
    for source in sources.values():
        if source._task is not None:
            await asyncio.wait([source._task])


# -- Google ----------------------------------------------------------------------------------------------------------------------------


class TokenServer:
    """In the place of google-auth's transport: every token is a new one."""

    def __init__(self):
        self.asked = []
        self.life_s = 3_600
        self.broken = None

    def __call__(self):
        return self.ask

    def ask(self, url, method="GET", body=None, headers=None, timeout=None, **_):
        if self.broken is not None:
            raise self.broken
        self.asked.append((url, timeout))
        if "service-accounts/default/?recursive" in url or url.endswith("/default/"):
            return Answer({"email": "me@example", "scopes": ["s"]})
        return Answer({"access_token": f"token-{len(self.tokens)}", "expires_in": self.life_s, "token_type": "Bearer"})

    @property
    def tokens(self):
        return [url for url, _ in self.asked if "token" in url]


class Answer:
    def __init__(self, value):
        self.status, self.data = 200, json.dumps(value).encode()
        self.headers = {"content-type": "application/json", "metadata-flavor": "Google"}


@pytest.fixture
def server(monkeypatch):
    made = TokenServer()
    monkeypatch.setattr("google.auth.transport.requests.Request", made)
    return made


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = tmp_path_factory.mktemp("google") / "key.json"
    fields = {
        "type": "service_account",
        "client_email": "me@p.iam",
        "private_key": pem,
        "token_uri": "https://oauth.example/token",
        "project_id": "p",
    }
    path.write_text(json.dumps(fields))
    return str(path)


def google(path):
    return deployment("vertex-anthropic/claude-opus-4-8", GOOGLE_APPLICATION_CREDENTIALS=path, **VERTEX)


async def bearer(found, credentials):
    return dict(await shown(found, credentials=credentials))["authorization"]


async def test_a_token_that_is_given_is_sent_as_it_is():
    assert (await shown(deployment("vertex/gemini-2.5-flash", VERTEX_ACCESS_TOKEN="ya29", **VERTEX)))[-1] == ("authorization", "Bearer ya29")


@pytest.mark.parametrize("machine", [False, True])
async def test_a_token_is_fetched_once_and_renewed_before_it_expires(server, key_file, machine, monkeypatch):
    path = "default" if machine else key_file
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
    clock = ManualClock(time.time_ns())
    found, credentials = google(path), Credentials(clock)
    assert await asyncio.gather(*(bearer(found, credentials) for _ in range(9))) == ["Bearer token-1"] * 9
    assert len(server.tokens) == 1
    assert server.tokens[0].startswith("http://metadata.google.internal" if machine else "https://oauth.example/token")
    assert all(timeout is not None and timeout <= 30 for _, timeout in server.asked)
    clock.advance(3_200)
    assert await bearer(found, credentials) == "Bearer token-1"
    assert len(server.tokens) == 1
    clock.advance(150)
    assert await bearer(found, credentials) == "Bearer token-1"  # good for a while yet: nobody waits
    await fetched(credentials._tokens)
    assert await bearer(found, credentials) == "Bearer token-2"


async def test_an_old_token_serves_until_its_end_when_the_server_fails_and_never_beyond(server, key_file, caplog):
    clock = ManualClock(time.time_ns())
    found, credentials = google(key_file), Credentials(clock)
    assert await bearer(found, credentials) == "Bearer token-1"
    server.broken = exceptions.TransportError("private words")
    clock.advance(3_400)
    assert await bearer(found, credentials) == "Bearer token-1"
    await fetched(credentials._tokens)
    assert await bearer(found, credentials) == "Bearer token-1"
    assert [task for source in credentials._tokens.values() if (task := source._task) is not None] == []  # it is not asked at once again
    clock.advance(200)
    with pytest.raises(Unavailable, match="credential could not be fetched") as caught:
        await bearer(found, credentials)
    assert "private words" not in caught.value.message + caplog.text
    server.broken = None
    assert await bearer(found, credentials) == "Bearer token-2"


@pytest.mark.parametrize("content", [None, "{", "{}", '{"type":"service_account"}', '{"type":"martian"}'])
async def test_a_file_that_is_no_key_is_said_to_be_such(server, tmp_path, content):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Unavailable, match="vertex-anthropic: ") as caught:
        await bearer(google(str(path)), Credentials(ManualClock()))
    assert caught.value.status == 503
    assert not server.asked


# -- renewal ---------------------------------------------------------------------------------------------------------------------------


async def test_who_hangs_is_not_waited_for_beyond_the_limit(monkeypatch):
    monkeypatch.setattr("tokenrouter.upstream.renewed.LONGEST_FETCH_S", 0.05)
    stuck = threading.Event()
    source = Renewed("vertex", lambda: Fetched(stuck.wait(60), 1, 1), ManualClock())
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"vertex: .*TimeoutError"):
        await source.get()
    assert time.monotonic() - began < 5
    stuck.set()


async def test_whoever_leaves_does_not_take_the_fetch_from_the_others():
    go = threading.Event()
    source = Renewed("n", lambda: (go.wait(10), Fetched("value", 10, 20))[1], ManualClock())
    leaver, stayer = asyncio.ensure_future(source.get()), asyncio.ensure_future(source.get())
    await asyncio.sleep(0)
    leaver.cancel()
    go.set()
    assert await stayer == "value"
    assert leaver.cancelled()


async def test_closing_lets_a_fetch_go():
    go = threading.Event()
    source = Renewed("n", lambda: (go.wait(10), Fetched("value", 10, 20))[1], ManualClock())
    waiter = asyncio.ensure_future(source.get())
    await asyncio.sleep(0)
    await source.aclose()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
