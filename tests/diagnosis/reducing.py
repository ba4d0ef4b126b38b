"""Takes other people's words out of captured requests, and leaves what a diagnosis looks at: `python tests/diagnosis/reducing.py CAPTURES`.

Kept are JSON structure, names of members and tools, roles, ids, numbers, dates, line ends, the lengths of words and lines, and which words are
equal. Every other word becomes a made-up one of the same length and case, the same one everywhere; words that say what follows ("date",
"status", "directory") stay, because the diagnosis reads them. Long lines lose their middle, the same way in all requests, unless two of them
differ there. The behaviors of `behaviors_of_clients.py` are played on the captured bodies first, so that what is stored is only read by tests.
"""

import gzip
import hashlib
import json
import re
import sys
from collections import defaultdict

from behaviors_of_clients import Pair, cases
from captures import Sent, read
from labelled import HERE

KEPT_WORDS = frozenset(
    """
    january february march april may june july august september october november december jan feb mar apr jun jul aug sep oct nov dec monday
    tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun session conversation request trace thread run turn step count
    user today now current date time month year git status branch main clean recent commits working directory workspace root folder path port
    localhost true false null the
    """.split()  # noqa: SIM905
)
KEPT_MEMBERS = frozenset(
    """
    type role model id call_id tool_use_id tool_call_id status name effort verbosity ttl mode signature encrypted_content thoughtSignature
    thought_signature required enum include tool_choice $schema format strict finish_reason prompt_cache_key
    """.split()  # noqa: SIM905
)
LISTS = ("tools", "system", "messages", "input", "contents")
_TOKEN = re.compile(r"\\.|\w+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_LONG, _HEAD, _TAIL = 140, 70, 50


class Reducer:
    """`cut`: lines that may lose their middle, and what is left of them."""

    def __init__(self):
        self.made, self.taken, self.cut = {}, set(), {}

    def look_at(self, bodies):
        """Find long lines whose middle can go: no two of them become the same."""
        seen = defaultdict(set)
        for text in _texts(bodies):
            if not _is_json(text):
                for line in text.split("\n"):
                    if len(line) > _LONG:
                        seen[_shortened(line)].add(line)
        self.cut = {lines.pop(): short for short, lines in seen.items() if len(lines) == 1}

    def value(self, value, member=""):
        if isinstance(value, str):
            return value if member in KEPT_MEMBERS or value.startswith("x-anthropic-billing-header") else self.text(value)
        if isinstance(value, list):
            return [self.value(item, member) for item in value]
        if isinstance(value, dict):
            return {name: inner if member == "enum" else self.value(inner, name) for name, inner in value.items()}
        return value

    def text(self, text):
        if not _is_json(text):
            text = "\n".join(self.cut.get(line, line) for line in text.split("\n"))
        return _TOKEN.sub(self._token, text)

    def _token(self, match):
        said = match[0]
        return said if said.startswith("\\") or any(map(str.isdigit, said)) else _WORD.sub(lambda word: self._word(word[0]), said)

    def _word(self, word):
        plain = word.lower()
        if plain in KEPT_WORDS or (plain not in self.made and len(plain) != len(word)):
            return word
        if plain not in self.made:
            self.made[plain] = self._invent(plain)
        return "".join(made.upper() if said.isupper() else made for said, made in zip(word, self.made[plain], strict=True))

    def _invent(self, plain):
        for attempt in range(1000):
            digest = hashlib.sha256(f"{plain} {attempt}".encode()).digest()
            made = "".join(("aeiou" if place % 2 else "bdfgklmnprstvz")[digest[place % 32] % (5 if place % 2 else 14)] for place in range(len(plain)))
            if made not in self.taken and made not in KEPT_WORDS:
                self.taken.add(made)
                return made
        raise AssertionError(plain)


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)


def _shortened(line):
    """The first and the last words of a line."""
    head, tail = line[:_HEAD].rpartition(" ")[0] or line[:_HEAD], line[-_TAIL:].partition(" ")[2] or line[-_TAIL:]
    return f"{head} {tail}"


def _is_json(text):
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class Store:
    """Requests of one client as one JSON value in which equal pieces stand once."""

    def __init__(self):
        self.pieces, self.requests, self._known = [], [], {}

    def _piece(self, value):
        text = json.dumps(value, ensure_ascii=False)
        if text not in self._known:
            self._known[text] = len(self.pieces)
            self.pieces.append(value)
        return self._known[text]

    def add(self, sent, reducer):
        body = reducer.value(sent.body)
        for name in LISTS:
            if isinstance(body.get(name), list):
                body[name] = [self._piece(piece) for piece in body[name]]
        for name in ("instructions", "systemInstruction", "system"):
            if name in body and not isinstance(body[name], list):
                body[name] = {"piece": self._piece(body[name])}
        entry = [sent.number, sent.label, sent.dialect, sent.model, sent.headers, body]
        text = json.dumps(entry, ensure_ascii=False)
        if text not in self._known:
            self._known[text] = len(self.requests)
            self.requests.append(entry)
        return self._known[text]


def write(captured, folder=HERE):
    """One file per client. The first `captured` requests are those of the capture, in order; the others belong to pairs."""
    pairs = defaultdict(list)
    for pair in cases(captured):
        pairs[pair.then.client].append(pair)
    for client, sent in captured.items():
        reducer, store = Reducer(), Store()
        reducer.look_at([one.body for one in sent] + [one.body for pair in pairs[client] for one in (*pair.before, pair.then)])
        stream = [store.add(one, reducer) for one in sent]
        listed = [
            {"name": pair.name, "before": [store.add(one, reducer) for one in pair.before], "then": store.add(pair.then, reducer), "how": pair.how}
            for pair in pairs[client]
        ]
        value = {"pieces": store.pieces, "requests": store.requests, "stream": stream, "pairs": listed}
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        (folder / f"{client}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))


def stored(client, folder=HERE):
    return json.loads(gzip.decompress((folder / f"{client}.json.gz").read_bytes()))


def load(client, folder=HERE):
    """What `write` stored: the requests of the capture, and the pairs."""
    value = stored(client, folder)
    pieces = value["pieces"]

    def sent(index):
        number, label, dialect, model, headers, body = value["requests"][index]
        body = dict(body)
        for name in LISTS:
            if isinstance(body.get(name), list):
                body[name] = [pieces[at] for at in body[name]]
        for name in ("instructions", "systemInstruction", "system"):
            if isinstance(body.get(name), dict) and "piece" in body[name]:
                body[name] = pieces[body[name]["piece"]]
        return Sent(client, number, label, dialect, body, headers, model)

    stream = [sent(index) for index in value["stream"]]
    return stream, [Pair(one["name"], [sent(index) for index in one["before"]], sent(one["then"]), one["how"]) for one in value["pairs"]]


CLIENTS = ("ai-sdk", "anthropic-python", "claude-code", "codex", "google-genai-python", "langchain", "openai-python", "opencode", "pydantic-ai")

if __name__ == "__main__":
    write(read(sys.argv[1]))
