import json
import re
from html.parser import HTMLParser

from tokenrouter.model.breaks import Excerpt
from tokenrouter.replay.leaks import Leak
from tokenrouter.replay.page import page
from tokenrouter.replay.plots import html_of
from tokenrouter.replay.read import Mistake
from tokenrouter.replay.report import CauseRow, Figures, ModelRow, Report, SlotRow, as_json

NASTY = "<script>alert(1)</script>\"'&\x00 http://evil.example https://evil.example"
VOID = {"meta", "br"}


class Strict(HTMLParser):
    """Elements are closed in the order in which they were opened; what they are, and what they say, is kept."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes, self.texts = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(text):
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def report():
    figures = [Figures(id=name, label=name, input_nano=nano, input_tokens=100, read=50) for name, nano in (("as_it_came", 200), ("gateway", 50))]
    excerpt = Excerpt(left=NASTY, before=NASTY, after=NASTY, right=NASTY)
    leak = Leak(cause="volatile", model=NASTY, place=NASTY, sentence=NASTY, advice=NASTY, remedy=NASTY, excerpt=excerpt, nano_usd=1_500_000_000)
    slot = SlotRow(place=NASTY, line=1, kind=NASTY, template=NASTY, count=1, distinct=1, tokens=1, nano_usd=1, edit="", advice=NASTY)
    return Report(
        file=NASTY,
        requests=2,
        span_s=7200,
        policies=figures,
        bound_nano=40,
        vendor_share=0.25,
        models=[ModelRow(model=NASTY, requests=2, policies={each.id: each for each in figures})],
        breaks=[CauseRow(cause=NASTY)],
        leaks=[leak],
        slots=[slot],
        edits=[(NASTY, 1)],
        left_out=[Mistake(3, NASTY)],
        mistakes=1,
        curve=[(0.0, 100, 40), (7200.0, 200, 50)],
    )


def test_prompts_mean_nothing_to_a_browser():
    text = page(report())
    found = parsed(text)
    assert "script" not in found.seen
    assert "<script" not in text
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("href", "src", "style", "xmlns")]
    assert any("<script>alert(1)</script>" in said for said in found.texts)
    assert "\x00" not in text


def test_the_page_refers_to_nothing_outside():
    text = page(report())
    assert not re.search(r"https?://|url\(|@import|<link|<iframe|<img", text)


def test_an_empty_report_is_a_page_too():
    parsed(page(Report(file="nothing")))


def test_long_texts_are_cut():
    assert html_of("a" * 1000, 10) == "a" * 9 + "…"


def test_json_tells_dollars_exactly():
    said = json.loads(as_json(report()))
    assert said["policies"][0]["input_usd"] == "0.0000002"
    assert said["policies"][0]["cached_share"] == 0.5
    assert said["leaks"][0]["usd"] == "1.50"
    assert said["curve"][1] == {"at_s": 7200.0, "as_it_came_usd": "0.0000002", "gateway_usd": "0.00000005"}
    assert said["left_out"][0]["number"] == 3
