"""Affinity keys of hot roots."""

from tokenrouter.prefixes.affinity import Shards

S = 1_000_000_000


def test_a_root_has_one_key_up_to_fifteen_requests_a_minute():
    shards = Shards()
    assert {shards.shard(b"root", b"%d" % number, number * 5 * S) for number in range(200)} == {0}


def test_a_hot_root_gets_as_many_keys_as_its_rate_needs_and_others_keep_theirs():
    shards = Shards()
    numbers = [shards.shard(b"hot", b"%d" % number, number * S) for number in range(240)]
    assert set(numbers[:15]) == {0}
    assert {0, 1, 2, 3} <= set(numbers[120:]) <= {0, 1, 2, 3, 4}
    assert shards.shard(b"cool", b"x", 240 * S) == 0


def test_a_conversation_stays_with_its_key_however_hot_its_root_gets():
    shards = Shards()
    first = [shards.shard(b"hot", b"%d" % number, 0) for number in range(10)]
    for number in range(1_000):
        shards.shard(b"hot", b"other %d" % number, number * S // 10)
    assert [shards.shard(b"hot", b"%d" % number, 100 * S) for number in range(10)] == first


def test_a_root_that_cools_down_has_one_key_for_new_conversations_again():
    shards = Shards()
    for number in range(240):
        shards.shard(b"hot", b"%d" % number, number * S)
    assert {shards.shard(b"hot", b"late %d" % number, (900 + 60 * number) * S) for number in range(20)} == {0}
