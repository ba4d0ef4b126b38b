"""What a span is called, that ordinary edits are called nothing, and that hostile spans end."""

import pytest

from tokenrouter.prefixes.scanners import first_likely, kind_of, outline
from tokenrouter.prefixes.texts import REACH, align, common_prefix, common_suffix, widened


@pytest.mark.parametrize(
    ("left", "before", "after", "right", "kind"),
    [
        ("Current time: ", "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z", "", "time"),
        ("at ", "10:05 AM", "2:45 PM", " sharp", "time"),
        ("now=", "1763760000", "1763760001", "", "time"),
        ("Today is Saturday, November ", "21", "22", ", 2026", "date"),
        ("Today is ", "Saturday, November 21", "Sunday, November 22", ", 2026", "date"),
        ("up to ", "October", "November", " 2026", "date"),
        ("id ", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "3fa85f64-5717-4562-b3fc-2c963f66afa7", "", "uuid"),
        ("Session id: ", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "0fa85f64-5717-4562-b3fc-2c963f66afa7", "", "session"),
        ("HEAD is ", "9fceb02d0ae598e95dc970b74767f19372d61af8", "1fceb02d0ae598e95dc970b74767f19372d61af8", "", "hex"),
        ('"id": "', "call_8fK2jd83Kq9s", "call_02kd93LLq8Zs", '"', "id"),
        ("Turn ", "12", "13", " of this talk", "counter"),
        ("on port ", "8080", "8081", ".", "port"),
        ("Working directory: ", "/home/ann/x", "/home/bob/y", "\n", "path"),
        ("Folder: ", "C:\\Users\\ann", "C:\\Users\\bob", "", "path"),
        ("see ", "https://a.example/x", "https://b.example/y", "", "url"),
        ("rules\nx-some-billing-header: v=1.", "06c", "9aa", "; e=cli;", "attribution"),
        ("git status:\n", " M a.py\n M b.py", " M c.py", "\n\n", "git"),
        ("Files in the folder:\n", "a.py\nb.py", "a.py\nc.md\nd.md", "\n\n", "listing"),
        # no volatile text
        ("Be ", "brief", "verbose", ".", ""),
        ("at ", "10:05, be brief", "10:06, be verbose", ".", ""),
        ("Answer in ", "3", "5", " sentences", ""),
        ("Never use more than ", "2", "4", " tools", ""),
        ("", "Say yes.\n", "", "Say no.", ""),
        ("choose yes and/or ", "no", "maybe", "", ""),
        ("the flag is ", "alpha", "omega", "", ""),
    ],
)
def test_spans_are_called_what_they_are(left, before, after, right, kind):
    assert kind_of(before, after, left, right) == kind
    assert kind_of(after, before, left, right) == kind


def test_a_text_full_of_figures_is_given_up_on():
    clock = "It is 2026-11-22 10:31 now."
    assert first_likely("row 1 " * 500 + clock, 0) == 500 * 6 + len("It is ")
    assert first_likely("row 1 " * 5_000 + clock, 0) == -1


HOSTILE = [
    "1" * 1_000_000,
    "a" * 1_000_000,
    "a/" * 500_000,
    "-" * 300_000,
    "1:" * 100_000,
    "Mon " * 100_000,
    "deadbeef-" * 110_000,
    "/" * 1_000_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:9])
def test_hostile_texts_come_to_an_end(text):
    """A scanner that were not linear would not, in any time that somebody waits."""
    outline(text)
    aligned = align(text + "x", "y" + text)
    assert len(aligned.spans) <= 65
    assert kind_of(text, text[:-1], "") == ""
    assert kind_of(text[:4_000], text[:3_999], text, text) in ("", "hex", "id", "path", "counter", "attribution")


def test_texts_are_aligned_around_each_difference():
    before = "The date is 2026-04-23. Request id 16. " + "All that follows is the same in both. " * 9
    after = before.replace("2026-04-23", "2026-05-01").replace("id 16", "id 17")
    aligned = align(before, after)
    assert aligned.whole
    spans = [widened(before, after, span) for span in aligned.spans]
    assert [(before[s.b_from : s.b_to], after[s.a_from : s.a_to]) for s in spans] == [("2026-04-23", "2026-05-01"), ("16", "17")]
    assert sum(s.a_to - s.a_from for s in aligned.spans) + aligned.equal == len(after)


@pytest.mark.parametrize("length", [REACH, REACH + 1])
def test_texts_that_do_not_meet_within_reach_are_apart(length):
    tail = "The end of both, which is long enough to be found again. "
    before, after = "A" + "#" * length + tail * 4 + "x", "B" + tail * 4 + "y"
    assert len(align(before, after).spans) == (2 if length < REACH else 1)


@pytest.mark.parametrize(
    ("one", "other"), [("", ""), ("a", ""), ("abc", "abc"), ("x" * 9_000 + "a", "x" * 9_000 + "b"), ("a" + "x" * 9_000, "b" + "x" * 9_000)]
)
def test_common_ends(one, other):
    head, tail = common_prefix(one, other), common_suffix(one, other)
    assert one[:head] == other[:head]
    assert one[head : head + 1] != other[head : head + 1] or head == len(one) == len(other)
    assert tail == 0 or one[-tail:] == other[-tail:]
    assert tail == min(len(one), len(other)) or one[len(one) - tail - 1] != other[len(other) - tail - 1]
