"""The admin API: keys, behind the admin key, in one error shape; and what must never be written anywhere."""

import asyncio
import json
import logging

import pytest
from rig import ADMIN_KEY, Rig, call, question

from tokenrouter.cli import main

KEYS = "/admin/api-keys"


async def test_a_key_is_made_shown_listed_used_and_revoked(rig: Rig):
    made = await rig.admin("POST", KEYS, {"name": "ci", "tenant": "acme", "quota_usd": "12.50", "requests_per_minute": 60, "models": ["gpt-4.1"]})
    assert made.status == 201
    fields = made.json
    key = fields["key"]
    assert (fields["name"], fields["tenant"], fields["quota_usd"], fields["models"]) == ("ci", "acme", "12.50", ["gpt-4.1"])
    shown = await rig.admin("GET", f"{KEYS}/{fields['id']}")
    assert shown.json == {**fields, "key": None}
    listed = (await rig.admin("GET", KEYS)).json["data"]
    assert {**fields, "key": None} in listed
    assert not any(row["key"] for row in listed)
    assert (await rig.chat(key=key)).status == 200
    assert (await rig.chat(question(model="gpt-4.1-mini"), key=key)).status == 403
    assert [row["id"] for row in (await rig.get("/v1/models", key=key)).json["data"]] == ["gpt-4.1"]
    gone = await rig.admin("DELETE", f"{KEYS}/{fields['id']}")
    assert (gone.status, gone.json["revoked"]) == (200, True)
    assert (await rig.chat(key=key)).status == 401
    assert (await rig.get("/v1/models", key=key)).status == 401
    again = await rig.admin("DELETE", f"{KEYS}/{fields['id']}")
    assert (again.status, again.json["revoked"]) == (200, True)
    assert again.json["sandbox_spent_usd"] != "0.00"


async def test_a_revoked_key_finishes_what_it_began(rig: Rig):
    rig.sandbox.hold()
    running = asyncio.create_task(rig.chat(question(stream=True)))
    await rig.sandbox.waiting(1)
    await rig.admin("DELETE", f"{KEYS}/{rig.key_id()}")
    assert (await rig.chat()).status == 401
    rig.sandbox.release()
    assert (await running).events[-1] == "[DONE]"
    assert rig.spent() == rig.sandbox.bill.nano_usd > 0


@pytest.mark.parametrize(("said", "kept"), [("12.50", "12.50"), ("0", "0.00"), (5, "5.00"), (0.1, "0.10"), (1e3, "1000.00"), (None, None)])
async def test_a_quota_is_read_as_it_is_written(rig: Rig, said, kept):
    made = await rig.admin("POST", KEYS, {"quota_usd": said})
    assert (made.status, made.json["quota_usd"]) == (201, kept)


WRONG = [
    (b"", None),
    (b"{", None),
    (b"[]", None),
    (b'"x"', None),
    (b"null", None),
    (b"\xff\xfe", None),
    (b"[" * 100_000, None),
    (b'{"quota_usd": NaN}', "quota_usd"),
    (b'{"quota_usd": 1e400}', "quota_usd"),
    (b'{"quota_usd": "-1"}', "quota_usd"),
    (b'{"quota_usd": "1,5"}', "quota_usd"),
    (b'{"quota_usd": "1e3"}', "quota_usd"),
    (b'{"quota_usd": "0.0000000001"}', "quota_usd"),
    (b'{"quota_usd": "99999999999999999999"}', "quota_usd"),
    (b'{"quota_usd": 99999999999}', "quota_usd"),
    (b'{"quota_usd": true}', "quota_usd"),
    (b'{"quota_usd": []}', "quota_usd"),
    (b'{"quota_usd": ' + b"9" * 5000 + b"}", None),
    (b'{"tenant": ""}', "tenant"),
    (b'{"tenant": "a b"}', "tenant"),
    (b'{"tenant": "a\\n"}', "tenant"),
    (b'{"tenant": "../x"}', "tenant"),
    (b'{"tenant": 5}', "tenant"),
    (b'{"name": "\\ud800"}', "name"),
    (b'{"name": "' + b"n" * 201 + b'"}', "name"),
    (b'{"requests_per_minute": -1}', "requests_per_minute"),
    (b'{"requests_per_minute": 1.5}', "requests_per_minute"),
    (b'{"requests_per_minute": 9999999}', "requests_per_minute"),
    (b'{"models": "gpt-4.1"}', "models"),
    (b'{"models": [1]}', "models.0"),
    (b'{"models": ["\\ud800"]}', "models.0"),
    (b'{"dedup_mode": "sometimes"}', "dedup_mode"),
    (b'{"edits_off": ["everything"]}', "edits_off"),
    (b'{"unknown": 1}', "unknown"),
    (b'{"name": "' + b"n" * (2 << 20) + b'"}', None),
]


@pytest.mark.parametrize(("raw", "where"), WRONG, ids=[raw[:40].decode("latin-1") for raw, _ in WRONG])
async def test_a_bad_body_is_refused_in_our_shape_and_makes_nothing(rig: Rig, raw: bytes, where: str | None):
    before = len(await rig.gateway.keys.all())
    answer = await rig.admin("POST", KEYS, raw)
    assert 400 <= answer.status < 500, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code"} <= set(answer.json)
    assert answer.json["status"] == answer.status
    if where is not None:
        assert answer.json["param"] == where
    assert len(answer.body) < 2000
    assert len(await rig.gateway.keys.all()) == before


@pytest.mark.parametrize("credential", ["", "wrong", ADMIN_KEY + "x", ADMIN_KEY[:-1], ADMIN_KEY.upper(), "\xe9", "sk-tr-admin-x"])
@pytest.mark.parametrize(("method", "path"), [("GET", KEYS), ("POST", KEYS), ("GET", f"{KEYS}/x"), ("DELETE", f"{KEYS}/x")])
async def test_the_admin_api_wants_the_admin_key(rig: Rig, method: str, path: str, credential: str):
    answer = await rig.admin(method, path, {} if method == "POST" else None, key=credential)
    assert (answer.status, answer.json["code"]) == (401, "invalid_api_key")
    assert (await rig.admin(method, path, {} if method == "POST" else None, key=rig.key)).status == 401


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("key_id", ["nobody", "' OR 1=1 --", "x" * 10_000, "%00", "\u00e9"])
async def test_an_unknown_key_is_a_404(rig: Rig, method: str, key_id: str):
    answer = await rig.admin(method, f"{KEYS}/{key_id}")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert len(await rig.gateway.keys.all()) == 1


async def test_the_minted_admin_key_counts_only_where_none_is_configured(start):
    async with start() as rig:
        minted = await rig.gateway.keys.mint_admin()
        assert await rig.gateway.keys.mint_admin() is None
        assert (await rig.admin("GET", KEYS, key=minted)).status == 401
    async with start(ADMIN_API_KEY="") as rig:
        assert (await rig.admin("GET", KEYS, key=minted)).status == 200
        assert (await rig.admin("GET", KEYS, key="")).status == 401
        assert (await rig.admin("GET", KEYS)).status == 401


async def test_keys_made_and_revoked_by_the_command_are_seen(rig: Rig, monkeypatch, capsys):
    monkeypatch.setenv("DATA_DIR", str(rig.folder))

    async def command(arguments: list[str]) -> int:
        return await asyncio.to_thread(main, arguments)  # it has a loop of its own

    assert await command(["keys", "create", "--tenant", "acme", "--quota-usd", "1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    await rig.gateway.keys.refresh()
    assert (await rig.chat(key=made["key"])).status == 200
    assert await command(["keys", "revoke", made["id"], "--json"]) == 0
    await rig.gateway.keys.refresh()
    assert (await rig.chat(key=made["key"])).status == 401
    assert await command(["keys", "revoke", made["id"]]) == 1
    assert "no valid key" in capsys.readouterr().err
    assert await command(["keys", "list", "--json"]) == 0
    assert {row["id"]: row["revoked"] for row in json.loads(capsys.readouterr().out)}[made["id"]] is True


@pytest.mark.parametrize(("option", "value"), [("--quota-usd", "lots"), ("--quota-usd", "99999999999999"), ("--tenant", "a b"), ("--rpm", "-1")])
def test_the_command_refuses_what_the_admin_api_refuses(tmp_path, monkeypatch, capsys, option: str, value: str):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    try:
        status = main(["keys", "create", option, value])
    except SystemExit as error:
        status = error.code
    assert status in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert main(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


async def test_no_key_and_no_prompt_is_written_anywhere(start, caplog, capfd):
    caplog.set_level(logging.DEBUG, logger="tokenrouter")
    secrets = {"provider": "sk-test-provider-CANARY", "prompt": "prompt-CANARY-words", "user": "user-CANARY", "idempotency": "idem-CANARY"}
    async with start(OPENAI_API_KEY=secrets["provider"], SANDBOX="1", LOG_LEVEL="debug") as rig:
        minted = await rig.gateway.keys.mint_admin()
        made = (await rig.admin("POST", KEYS, {"name": "n"})).json["key"]
        for headers in ({}, {"idempotency-key": secrets["idempotency"]}, {"x-dedup": secrets["user"]}):
            await rig.chat(question(secrets["prompt"], user=secrets["user"]), key=made, headers={"cache-control": "no-store", **headers})
        await rig.chat(b'{"model": "prompt-CANARY-words"', key=made)
        await call(rig.app, "GET", "/v1/models", b"", {"authorization": f"Bearer {made[:-4]}zzzz"})
        metrics = (await rig.get("/metrics")).body.decode()
        folder = rig.folder
        spoken = [made, made.split("-", 3)[3], rig.key, minted, ADMIN_KEY, *secrets.values()]
    out, err = capfd.readouterr()
    texts = {"metrics": metrics, "log": caplog.text, "standard output": out, "standard error": err}
    for file in folder.iterdir():
        texts[file.name] = file.read_bytes().decode("latin-1")
    for name, text in texts.items():
        for secret in spoken:
            assert secret not in text, name


async def test_files_are_for_their_owner_only(rig: Rig):
    assert rig.folder.stat().st_mode & 0o077 == 0
    assert (rig.folder / "secret").stat().st_mode & 0o077 == 0


async def test_a_second_gateway_on_the_same_folder_is_refused(rig: Rig):
    from rig import running

    with pytest.raises((AssertionError, Exception), match="in use"):
        async with running(rig.folder):
            pass
    assert (await rig.chat()).status == 200
