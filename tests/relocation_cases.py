"""Values that may be moved out of system texts, what stands around them, and traps: cases of `volatile.relocate`."""

from tokenrouter.model.volatile import Template

VALUES = {
    "time": ["2026-11-21T10:05:00Z", "10:05 AM", "1763760000", "23:59:59"],
    "date": ["2026-04-23", "Saturday, November 21, 2026", "11/21/2026", "October 2026"],
    "uuid": ["3fa85f64-5717-4562-b3fc-2c963f66afa6"],
    "hex": ["9fceb02d0ae598e95dc970b74767f19372d61af8", "0fceb02d"],
    "id": ["req_02156ef02cbc10", "call_8fK2jd83Kq9s"],
    "counter": ["16", "4711"],
    "path": ["/home/ann/work", "C:\\Users\\ann\\x", "~/src/app"],
    "url": ["https://a.example/x?y=1"],
    "port": ["8080"],
}
FRAMES = [
    ("The value is ", ". Keep it in mind. "),
    ("now = `", "` (of this request)"),
    ("Environment:\n  value: ", "\n  shell: zsh"),
    ('{"value": "', '", "other": 1}'),
    ("Wert für heute 東京: ", " — ja."),
    ("<env>", "</env> is the environment."),
    ("$1 \\d+ (.*) value: ", " [a-z]{2,3}?"),
]
SAFE = [(kind, value, frame) for kind, values in VALUES.items() for value in values for frame in FRAMES]


def template(kind, frame, number=0):
    return Template(id=f"{number:06x}aaaaaa", kind=kind, left=frame[0], right=frame[1])


TRAPS = {
    "the surroundings stand there twice": lambda v, f: f[0] + v + f[1] + " and again " + f[0] + v + f[1],
    "an instruction stands in the place of the value": lambda v, f: f[0] + "be brief" + f[1],
    "an instruction stands beside the value": lambda v, f: f[0] + v + ", be brief" + f[1],
    "the value is missing": lambda v, f: f[0] + f[1],
    "the left side has changed": lambda v, f: f[0][1:] + v + f[1],
    "the right side has changed": lambda v, f: f[0] + v + f[1][1:],
    "the right side is far away": lambda v, f: f[0] + v + " x" * 200 + f[1],
    "the note stands there already": lambda v, f: f[0] + v + f[1] + " (see date-000000 below)",
    "the value holds a line end": lambda v, f: f[0] + v + "\n" + v + f[1],
    "the value holds a note": lambda v, f: f[0] + "(see date-000001 below)" + f[1],
    "a word is glued to the value": lambda v, f: f[0] + v + "ish" + f[1],
    "the value has spaces around it": lambda v, f: f[0] + " " + v + " " + f[1],
    "markup in the place of the value": lambda v, f: f[0] + "<date>" + f[1],
}
"""Texts around a value (`v`) and its frame (`f`) in which nothing may be touched."""


def restored(text, moved):
    """The text as it was: proof that nothing was lost."""
    for one in reversed(moved):
        text = text.replace(one.template.note, one.value, 1)
    return text
