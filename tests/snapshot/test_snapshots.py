import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from showing import CASES, body_of, identities, show
from support import NO_EDITS, SOL, render, see
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tokenrouter.errors import GatewayError
from tokenrouter.pipeline.hasher import HASH_VERSION

MANIFEST = Path(__file__).parent / "identities.json"


class CaseFile(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.mark.parametrize("name", CASES)
def test_a_case_renders_as_before(name, snapshot):
    assert show(name) == snapshot(extension_class=CaseFile)


def test_identities_change_only_together_with_the_hash_version(request):
    now = {name: found for name in sorted(CASES) if (found := identities(name)) is not None}
    if request.config.getoption("--snapshot-update"):
        before = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {"hash_version": HASH_VERSION, "cases": {}}
        _check(before, now)
        MANIFEST.write_text(json.dumps({"hash_version": HASH_VERSION, "cases": now}, indent=1) + "\n")
    manifest = json.loads(MANIFEST.read_text())
    _check(manifest, now)
    assert manifest["hash_version"] == HASH_VERSION, "HASH_VERSION was raised: accept the new identities with `make snapshots`"
    assert manifest["cases"].keys() == now.keys(), "cases came or went: accept them with `make snapshots`"


def _check(manifest, now):
    if manifest["hash_version"] != HASH_VERSION:
        return
    changed = [name for name, found in manifest["cases"].items() if name in now and now[name] != found]
    changed += [name for name in manifest["cases"] if name in CASES and name not in now]
    assert not changed, f"identities of {', '.join(changed)} are not what HASH_VERSION {HASH_VERSION} means: raise it in pipeline/hasher.py"


def test_a_new_process_with_another_hash_seed_sees_every_case_alike():
    mine = {name: [hashlib.sha256(show(name).encode()).hexdigest(), identities(name)] for name in CASES}
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent, here.parents[1])))
    for seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, str(here / "showing.py")], env=environment, capture_output=True, check=True, timeout=60)
        assert json.loads(done.stdout) == mine


# What docs/canonical-form.md calls equal for the answer; any other two cases differ.
ALIKE = (
    {"chat_plain", "spelled_with_spaces", "spelled_in_another_key_order"},
    {"stream_without_usage", "stream_with_usage", "stream_with_obfuscation_off", "stream_options_null"},
    {"tools_in_order", "tools_shuffled"},
    {"null_fields", "defaults_spelled_out", "extension_fields", "client_affinity_key"},
    {"mark_on_a_message", "mark_for_an_hour", "mark_for_an_hour_behind_a_short_one", "mark_of_12_hours"},
    {"mark_on_a_part", "mark_in_the_words_of_openai"},
)


def test_cases_share_an_answer_identity_only_where_the_published_list_says_so():
    groups: dict[str, set[str]] = {}
    for name in CASES:
        if (found := identities(name)) is not None:
            groups.setdefault(found["answer"], set()).add(name)
    assert sorted(map(sorted, (group for group in groups.values() if len(group) > 1))) == sorted(map(sorted, ALIKE))


@pytest.mark.parametrize("name", CASES)
def test_with_every_edit_off_the_native_lane_sends_the_clients_own_bytes(name):
    body = body_of(name, SOL)
    try:
        seen = see(body, edits=NO_EDITS)
    except GatewayError:
        return
    sent = render(seen, SOL)
    if seen.envelope.extensions:
        assert sent.edits == ("extensions.strip",)
    else:
        assert sent.body is body
        assert sent.edits == ()
