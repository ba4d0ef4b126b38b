"""The directory while its database is away: what is known goes on being used, what is not is a 503, never a 401."""

import asyncio
import os
import stat

import pytest
from directories import SECRET, STATEMENTS, Known, Opened, Shelf, Watched
from test_directory import known

from tokenrouter.api.auth import authenticate
from tokenrouter.clock import ManualClock
from tokenrouter.errors import ConfigError, Unauthenticated, Unavailable
from tokenrouter.model.directory import Customer
from tokenrouter.model.rules import Cap, Scope
from tokenrouter.storage.deployment import shared_secret
from tokenrouter.storage.directory import UNKNOWN, Directory
from tokenrouter.storage.keyring import KeyRing
from tokenrouter.storage.postgres import Postgres


@pytest.fixture
def watched(open_again: Opened) -> Watched:
    return Watched(open_again())


@pytest.fixture
async def remote(watched: Watched, clock: ManualClock) -> Directory:
    """A directory whose database can be made to go away."""
    made = Directory(watched, KeyRing(SECRET), clock)
    await made.refresh()
    return made


async def test_known_keys_go_on_and_unknown_ones_are_a_503(remote: Directory, watched: Watched, directory: Directory, clock: ManualClock):
    key, _ = await directory.create(tenant="acme")
    revoked, stored = await directory.create(tenant="acme")
    unseen, _ = await directory.create(tenant="acme")
    await directory.revoke(stored.principal.key_id)
    await directory.put_customer(Customer(tenant="acme", id="bob"))
    first, _, bob = await known(remote, key), await known(remote, revoked), await remote.look_up_customer("acme", "bob")
    watched.away = True
    clock.advance(3600)
    watched.asked.clear()
    assert remote.at_hand(key) is first is not None
    assert remote.at_hand(revoked) is None
    assert remote.customer("acme", "bob") is bob is not None
    assert watched.asked == []
    assert not await remote.refresh()
    assert "3600 s ago" in remote.problem
    with pytest.raises(Unavailable):
        await authenticate({"authorization": f"Bearer {unseen}"}, remote)
    with pytest.raises(Unavailable):
        await remote.look_up_customer("acme", "eve")
    for wrong in (key[:-1], "sk-tr-000000000000-x", "nonsense"):
        with pytest.raises(Unauthenticated):
            await authenticate({"x-api-key": wrong}, remote)


async def test_what_changed_while_it_was_away_is_known_when_it_is_back(remote: Directory, watched: Watched, directory: Directory):
    key, stored = await directory.create(tenant="acme")
    assert await known(remote, key) is not None
    watched.away = True
    await directory.revoke(stored.principal.key_id)
    assert not await remote.refresh()
    assert remote.at_hand(key) is not None
    watched.away = False
    assert await remote.refresh()
    assert remote.at_hand(key) is UNKNOWN
    assert await known(remote, key) is None
    assert remote.problem == ""


async def test_a_look_that_fails_leaves_what_was_known(remote: Directory, watched: Watched, directory: Directory, clock: ManualClock):
    key, _ = await directory.create(tenant="acme")
    first = await known(remote, key)
    clock.advance(3600)
    assert remote.at_hand(key) is UNKNOWN
    watched.away = True
    assert await remote.look_up(key) is first


async def test_a_process_that_starts_meanwhile_reads_the_copies(open_again: Opened, directory: Directory, clock: ManualClock):
    shelf = Shelf()
    busy = Directory(open_again(), KeyRing(SECRET), clock, mirror=shelf)
    admin = await busy.mint_admin()
    key, stored = await busy.create(tenant="acme", quota=5)
    await busy.put_rule("acme", Cap(id="b", scope=Scope(customer="bob"), amount=3))
    before = await known(busy, key), await busy.look_up_customer("acme", "bob")
    gone = Watched(open_again())
    gone.away = True
    late = Directory(gone, KeyRing(SECRET), clock, mirror=shelf)
    assert not await late.refresh()
    assert (await known(late, key), await late.look_up_customer("acme", "bob")) == before
    assert late.at_hand(key) is not UNKNOWN
    assert admin is not None
    assert late.is_admin(admin)
    assert not late.is_admin(admin[:-1])
    with pytest.raises(Unavailable):
        await late.look_up_customer("acme", "eve")
    gone.away = False
    await directory.revoke(stored.principal.key_id)
    assert await late.refresh()
    assert await known(late, key) is None


async def test_the_copies_are_not_asked_while_the_database_can_be(open_again: Opened, directory: Directory, clock: ManualClock):
    shelf = Shelf()
    busy = Directory(open_again(), KeyRing(SECRET), clock, mirror=shelf)
    key, stored = await busy.create(tenant="acme")
    await known(busy, key)
    await directory.revoke(stored.principal.key_id)  # where nobody knows of the shelf
    fresh = Directory(open_again(), KeyRing(SECRET), clock, mirror=shelf)
    await fresh.refresh()
    assert await known(fresh, key) is None


async def test_a_revoked_keys_copy_is_taken_away_at_once(open_again: Opened, clock: ManualClock):
    shelf = Shelf()
    directory = Directory(open_again(), KeyRing(SECRET), clock, mirror=shelf)
    key, stored = await directory.create(tenant="acme")
    await known(directory, key)
    name = f"StoredKey:{stored.principal.key_id}"
    assert name in shelf.copies
    await directory.revoke(stored.principal.key_id)
    assert name not in shelf.copies


async def test_a_copy_that_somebody_else_wrote_or_moved_is_not_believed(open_again: Opened, clock: ManualClock):
    shelf = Shelf()
    directory = Directory(open_again(), KeyRing(SECRET), clock, mirror=shelf)
    poor, _ = await directory.create(tenant="acme", quota=1)
    rich, _ = await directory.create(tenant="acme")
    await known(directory, poor)
    await known(directory, rich)
    name = f"StoredKey:{poor.split('-')[2]}"
    gone = Watched(open_again())
    gone.away = True
    document = shelf.copies[name][16:].replace(b'"quota":1', b'"quota":9')
    assert document != shelf.copies[name][16:]
    for forged in (document, shelf.copies[name][:16] + document, shelf.copies[f"StoredKey:{rich.split('-')[2]}"], b"x"):
        shelf.copies[name] = forged
        with pytest.raises(Unavailable):
            await Directory(gone, KeyRing(SECRET), clock, mirror=shelf).look_up(poor)


async def test_a_shelf_that_is_away_too_is_no_error_but_where_it_is_the_last_resort(open_again: Opened, clock: ManualClock):
    shelf = Shelf()
    shelf.away = True
    directory = Directory(open_again(), KeyRing(SECRET), clock, mirror=shelf)
    key, stored = await directory.create(tenant="acme")
    assert await known(directory, key) is not None
    assert await directory.revoke(stored.principal.key_id)
    gone = Watched(open_again())
    gone.away = True
    with pytest.raises(Unavailable):
        await Directory(gone, KeyRing(SECRET), clock, mirror=shelf).look_up(key)


async def test_postgres_stopped_and_started(postgres_url: str, postgres_server, clock: ManualClock):
    database = Postgres(postgres_url, *STATEMENTS, clock=clock)
    directory = Directory(database, KeyRing(SECRET), clock)
    await directory.refresh()
    key, stored = await directory.create(tenant="acme")
    unseen, _ = await directory.create(tenant="acme")
    first = await known(directory, key)
    postgres_server.stop()
    assert not await directory.refresh()
    assert directory.problem
    clock.advance(600)
    answers = await asyncio.gather(*(authenticate({"x-api-key": key}, directory) for _ in range(20)))
    assert {id(answer) for answer in answers} == {id(first)}
    for _ in range(10):
        with pytest.raises(Unavailable):
            await authenticate({"x-api-key": unseen}, directory)
    with pytest.raises(Unavailable):
        await directory.revoke(stored.principal.key_id)
    postgres_server.start()
    clock.advance(0.5)
    assert await directory.refresh()
    assert directory.problem == ""
    assert await authenticate({"x-api-key": key}, directory) is first
    assert (await authenticate({"x-api-key": unseen}, directory)).key_id == unseen.split("-")[2]
    assert await directory.revoke(stored.principal.key_id)
    await directory.aclose()


async def test_all_processes_agree_on_one_secret_and_can_start_without_the_database(open_again: Opened, tmp_path):
    folders = [tmp_path / f"node{number}" for number in range(4)]
    found = await asyncio.gather(*(shared_secret(open_again(), folder) for folder in folders))
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    kept = folders[0] / "shared-secret"
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    gone = Watched(open_again())
    gone.away = True
    assert await shared_secret(gone, folders[0]) == found[0]
    with pytest.raises(ConfigError, match="no copy"):
        await shared_secret(gone, tmp_path / "never-there")
    kept.write_bytes(bytes(32))
    assert await shared_secret(open_again(), folders[0]) == found[0]
    assert kept.read_bytes() == found[0]
    assert sorted(path.name for path in folders[0].iterdir()) == ["shared-secret"]


async def test_nothing_is_known_to_a_deployment_with_another_secret(directory: Directory, another: Known):
    key, _ = await directory.create(tenant="acme")
    assert await known(another(KeyRing(bytes(32))), key) is None
