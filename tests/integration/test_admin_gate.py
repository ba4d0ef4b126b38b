"""The way into the admin API: who asks, problems in one shape, changes that are safe to repeat, pages that do not move."""

import asyncio
import json

import pytest
from admin_desk import KEY, Office
from rig import Response, call

from tokenrouter.api.admin.gate import KEPT_NS, _row_of
from tokenrouter.errors import Unavailable

T, K = "/admin/tenants", "/admin/api-keys"
HOUR_S = 3600


async def test_nothing_but_the_description_is_told_to_who_has_no_key(office: Office):
    for method, path in (("GET", K), ("POST", K), ("GET", "/admin/nowhere"), ("PUT", K), ("GET", "/admin/tenants/x"), ("GET", "/admin/audit")):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {KEY}x"}, {"cookie": f"key={KEY}"}):
            answer = await call(office.app, method, path, b"{", headers)
            assert answer.status == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json["code"] == "unauthenticated" or answer.json["code"] == "invalid_api_key"
        assert (await call(office.app, method, f"{path}?key={KEY}", b"", {})).status == 401
    assert (await call(office.app, "GET", "/admin/openapi.json", b"", {})).status == 200
    assert (await call(office.app, "GET", "/admin/docs", b"", {})).status == 200
    assert (await call(office.app, "GET", "/admin", b"", {})).headers["location"] == "/admin/docs"


async def test_refusals_are_problem_details(office: Office):
    for answer, status, code in (
        (await office.ask("GET", "/admin/nowhere"), 404, "not_found"),
        (await office.ask("PUT", K, {}), 405, "method_not_allowed"),
        (await office.ask("GET", f"{K}/nobody"), 404, "not_found"),
        (await office.ask("POST", K, b"{"), 400, "invalid_json"),
        (await office.ask("POST", K, {"tenant": 5, "name": 7}), 400, "invalid_request"),
        (await office.ask("POST", K, b'"' + b"x" * (2 << 20) + b'"'), 413, "request_too_large"),
        (await office.ask("POST", K, {}, content_type="application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
        (await office.ask("GET", f"{K}?limit=0"), 400, "invalid_request"),
        (await office.ask("GET", f"{K}?limit=501"), 400, "invalid_request"),
    ):
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code"} <= set(answer.json)
        assert (answer.json["status"], answer.json["code"], answer.json["type"]) == (status, code, f"urn:tokenrouter:problem:{code}")
    several = (await office.ask("POST", K, {"tenant": 5, "name": 7, "surprise": 1})).json
    assert {each["param"] for each in several["errors"]} == {"tenant", "name", "surprise"}


async def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(office: Office):
    made = await office.made(K, {"tenant": "acme"})
    office.database.away = True
    for method, path, body in (("GET", K, None), ("POST", K, {}), ("GET", f"{K}/{made['id']}", None), ("GET", "/admin/audit", None)):
        answer = await office.ask(method, path, body)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["content-type"] == "application/problem+json"
    office.database.away = False
    assert (await office.ask("GET", f"{K}/{made['id']}")).status == 200


async def test_a_repeated_change_happens_once_and_shows_its_secret_once(office: Office):
    first = await office.ask("POST", K, {"tenant": "acme"}, idempotency_key="one")
    again = await office.ask("POST", K, {"tenant": "acme"}, idempotency_key="one")
    assert (first.status, again.status) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert first.json["key"].startswith("sk-tr-")
    assert again.json == {**first.json, "key": None}
    assert len(await office.all(K)) == 1
    other = await office.ask("POST", K, {"tenant": "acme"}, idempotency_key="two")
    assert other.json["id"] != first.json["id"]


async def test_another_request_under_the_same_key_is_refused(office: Office):
    await office.ask("POST", T, {"name": "acme"}, idempotency_key="one")
    for method, path, body in (("POST", T, {"name": "other"}), ("POST", K, {"name": "acme"}), ("PATCH", f"{T}/acme", {"name": "acme"})):
        answer = await office.ask(method, path, body, idempotency_key="one")
        assert (answer.status, answer.json["code"]) == (422, "idempotency_key_reused")
    assert [tenant["name"] for tenant in await office.all(T)] == ["acme"]
    assert await office.all(K) == []


async def test_twins_at_the_same_moment_have_one_effect(office: Office):
    answers = await asyncio.gather(*(office.ask("POST", K, {"tenant": "acme"}, idempotency_key="one") for _ in range(20)))
    assert len(await office.all(K)) == 1
    assert {answer.status for answer in answers} <= {201, 409}
    assert sum(answer.status == 201 and bool(answer.json["key"]) for answer in answers) == 1
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 409)
    assert len([row for row in await office.audited() if row[1] == "create key"]) == 1


async def test_a_refusal_is_not_kept(office: Office):
    assert (await office.ask("POST", T, {"name": "a b"}, idempotency_key="one")).status == 400
    assert (await office.ask("POST", T, {"name": "ab"}, idempotency_key="one")).status == 201


async def test_a_post_that_may_have_happened_is_not_done_again(office: Office, monkeypatch):
    async def lost(*_: object, **__: object) -> None:
        raise Unavailable("gone in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(office.directory, "create", lost)
        assert (await office.ask("POST", K, {}, idempotency_key="one")).status == 503
    under_way = await office.ask("POST", K, {}, idempotency_key="one")
    assert (under_way.status, under_way.headers["retry-after"]) == (409, "1")
    office.clock.advance(60)
    unknown = await office.ask("POST", K, {}, idempotency_key="one")
    assert (unknown.status, "retry-after" in unknown.headers) == (409, False)
    assert "audit" in unknown.json["detail"]
    assert await office.all(K) == []


async def test_a_change_that_is_the_same_however_often_it_is_made_may_be_repeated_after_trouble(office: Office, monkeypatch):
    await office.made(T, {"name": "acme"})

    async def lost(*_: object, **__: object) -> None:
        raise Unavailable("gone in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(office.directory, "change_tenant", lost)
        assert (await office.ask("PATCH", f"{T}/acme", {"disabled": True}, idempotency_key="one")).status == 503
    assert (await office.ask("PATCH", f"{T}/acme", {"disabled": True}, idempotency_key="one")).json["disabled"]


async def test_a_reply_reaches_its_caller_even_if_it_can_not_be_kept(office: Office, monkeypatch):
    async def lost(*_: object) -> None:
        raise Unavailable("no room for replies")

    with monkeypatch.context() as patch:
        patch.setattr(office.desk.records, "finish", lost)
        assert (await office.ask("POST", K, {}, idempotency_key="one")).json["key"]
    assert (await office.ask("POST", K, {}, idempotency_key="one")).status == 409


async def test_replies_are_forgotten_after_a_day(office: Office):
    await office.ask("POST", K, {}, idempotency_key="one")
    office.clock.advance(KEPT_NS / 1e9 - HOUR_S)
    assert "idempotent-replayed" in (await office.ask("POST", K, {}, idempotency_key="one")).headers
    office.clock.advance(2 * HOUR_S)
    await office.ask("POST", K, {}, idempotency_key="two")
    assert "idempotent-replayed" not in (await office.ask("POST", K, {}, idempotency_key="one")).headers
    assert len(await office.all(K)) == 3


async def test_a_handler_that_breaks_says_nothing_and_keeps_nothing(office: Office, monkeypatch):
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("sk-tr-secret in a traceback")

    monkeypatch.setattr(office.directory, "change_tenant", broken)
    for headers in ({}, {"idempotency-key": "one"}):
        into = Response()
        said = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
        with pytest.raises(RuntimeError):  # for the server's log
            await call(office.app, "POST", T, b'{"name": "acme"}', said, into=into)
        assert (into.status, into.json["code"]) == (500, "internal_error")
        assert b"secret" not in into.body


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
async def test_an_idempotency_key_that_is_none_is_refused(office: Office, key: str):
    answer = await office.ask("POST", K, {}, idempotency_key=key)
    assert (answer.status, answer.json["param"]) == (400, "idempotency-key")
    assert await office.all(K) == []


async def test_reading_needs_no_idempotency_key_and_keeps_none(office: Office):
    await office.ask("GET", K, idempotency_key="one")
    assert (await office.ask("POST", K, {}, idempotency_key="one")).status == 201


@pytest.mark.parametrize("remark", ["x" * 101, "a\x01b", "a\x7fb"])
async def test_a_remark_for_the_audit_is_short_and_printable(office: Office, remark: str):
    answer = await office.ask("POST", K, {}, x_admin_actor=remark)
    assert (answer.status, answer.json["param"]) == (400, "x-admin-actor")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pages_show_everything_once_whatever_is_added_meanwhile(office: Office, size: int):
    for name in ("b", "d", "f", "h", "j"):
        await office.made(T, {"name": name})
        await office.made(K, {"tenant": name, "name": name})
        office.clock.advance(1)
    for path, field in ((T, "name"), (K, "id"), (f"{T}/b/limits", "id"), (f"{T}/b/caps", "id"), (f"{T}/b/customers", "id"), ("/admin/audit", "id")):
        if path.startswith(f"{T}/"):
            for number in range(5):
                kind = path.rpartition("/")[2]
                body = {"customers": {"id": f"c{number}"}, "caps": {"amount_usd": "1"}, "limits": {"metric": "requests", "amount": 1}}[kind]
                await office.made(path, body)
        before = [row[field] for row in await office.all(path)]
        seen, cursor, number = [], "", 0
        while True:
            answer = (await office.ask("GET", f"{path}?limit={size}&cursor={cursor}")).json
            seen += [row[field] for row in answer["data"]]
            assert len(answer["data"]) <= size
            if not answer["has_more"]:
                break
            cursor, number = answer["next_cursor"], number + 1
            if number > 3:  # a list that grows as fast as it is read has no end
                continue
            await office.made(T, {"name": f"{path.rpartition('/')[2]}-{size}-{number}"})
            await office.made(K, {"tenant": "aa"})
        assert len(seen) == len(set(seen))
        assert [each for each in seen if each in before] == before


@pytest.mark.parametrize("cursor", ["x", "AAAA", "W10", "WzFd", "bnVsbA", "WyJhIiwiYiJd", "e30", "%00", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE3XQ"])
@pytest.mark.parametrize("path", [T, K, "/admin/prices", "/admin/audit"])
async def test_a_cursor_that_was_not_made_here_is_refused(office: Office, path: str, cursor: str):
    answer = await office.ask("GET", f"{path}?cursor={cursor}")
    if path == "/admin/audit" and cursor == "WzFd":
        assert answer.status == 200
    else:
        assert (answer.status, answer.json["param"]) == (400, "cursor"), answer.body


async def test_no_secret_is_in_a_reply_that_is_kept_or_in_the_audit(office: Office):
    made = (await office.ask("POST", K, {"tenant": "acme", "name": "n"}, idempotency_key="idem-CANARY")).json
    rotated = (await office.ask("POST", f"{K}/{made['id']}/rotate", {}, idempotency_key="idem-CANARY-2")).json
    await office.ask("DELETE", f"{K}/{made['id']}")
    shown = json.dumps([await office.all(K), await office.all("/admin/audit")])
    kept = [await office.database.rows("find_admin_reply", {"key": _row_of(key)}) for key in ("idem-CANARY", "idem-CANARY-2")]
    assert all(rows for rows in kept)
    for secret in (made["key"], rotated["key"], made["key"].split("-", 3)[3], rotated["key"].split("-", 3)[3], "CANARY"):
        assert secret not in shown
        assert secret not in repr(kept)
