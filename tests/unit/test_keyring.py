"""Keys as text."""

import secrets

import pytest

from tokenrouter.storage.keyring import NO_DIGEST, KeyRing

RING = KeyRing(bytes(range(32)))


def test_a_key_has_a_public_id_and_a_secret_of_256_bits():
    key_id, key, digest = RING.mint()
    prefix, kind, shown, secret = key.split("-", 3)
    assert (prefix, kind, shown) == ("sk", "tr", key_id)
    assert len(secret) == 43
    assert (len(key_id), len(digest)) == (20, 32)
    assert RING.public_id(key) == key_id
    assert RING.matches(key, digest, NO_DIGEST) == (True, False)
    assert RING.matches(key, b"", digest) == (False, True)
    assert len({RING.mint()[1] for _ in range(1000)}) == 1000


def test_only_ids_that_were_made_here_are_let_through():
    _, key, _ = RING.mint()
    key_id = key.split("-")[2]
    assert KeyRing(bytes(32)).public_id(key) == ""
    for bit in range(80):
        other = (int(key_id, 16) ^ (1 << bit)).to_bytes(10, "big").hex()
        assert RING.public_id(f"sk-tr-{other}-x") == ""
    let_through = [each for each in (secrets.token_hex(10) for _ in range(20_000)) if RING.public_id(f"sk-tr-{each}-x")]
    assert let_through == []


@pytest.mark.parametrize(
    "spelled", [str.upper, lambda id_: f" {id_}", lambda id_: f"{id_[:2]} {id_[2:]}", lambda id_: id_[:12], lambda id_: id_ + "00"]
)
def test_an_id_has_one_spelling(spelled):
    key_id, _, _ = RING.mint("")
    while not any(each.isalpha() for each in key_id):
        key_id, _, _ = RING.mint("")
    assert RING.public_id(f"sk-tr-{spelled(key_id)}-x") == ""


def test_ids_from_before_the_checksum_are_let_through_only_where_they_are_wanted():
    assert RING.public_id("sk-tr-0123456789ab-x") == ""
    assert KeyRing(bytes(range(32)), old_ids=True).public_id("sk-tr-0123456789ab-x") == "0123456789ab"
    assert KeyRing(bytes(range(32)), old_ids=True).public_id("sk-tr-0123456789-x") == ""


def test_no_digest_is_matched_by_nothing():
    for presented in ("", "\x00" * 32, "sk-tr-x-y"):
        assert RING.matches(presented, b"", b"") == (False, False)
        assert RING.matches(presented, NO_DIGEST, NO_DIGEST) == (False, False)


def test_a_sealed_document_is_read_under_its_name_by_its_deployment_only():
    sealed = RING.sealed("a", b"document")
    assert RING.unsealed("a", sealed) == b"document"
    assert RING.unsealed("b", sealed) is None
    assert KeyRing(bytes(32)).unsealed("a", sealed) is None
    assert RING.unsealed("a", RING.sealed("ad", b"ocument")) is None
    for place in range(len(sealed)):
        assert RING.unsealed("a", sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]) is None
    assert RING.unsealed("a", b"") is None
