"""`tokenrouter replay`, from the command line to the page."""

import json
import os
import random
import socket
import uuid
from html.parser import HTMLParser

import pytest

from tokenrouter.cli import main
from tokenrouter.replay import replaying
from tokenrouter.replay.run import gateway_for

SYSTEM = "You are the support agent of a bookshop. " + "Be brief, be kind, and look things up before you promise anything. " * 60
NAMES = ("find_book", "check_stock", "order_status", "refund", "list_branches", "recommend")
EVIL = "<script>alert('of a prompt')</script>"


def tool(name):
    words = {word: {"type": "string", "description": f"The {word} that the customer named. {EVIL}"} for word in ("title", "author", "order")}
    return {"name": name, "description": f"{name} for a customer. " * 5, "input_schema": {"type": "object", "properties": words}}


def conversation(turns=12, *, shuffled=True, model="claude-opus-4-8", gap_s=30.0, stream=False, seed=7):
    """Requests of one client, each longer than the one before."""
    chance, messages, lines = random.Random(seed), [], []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn} of customer {seed} {EVIL}: " + "do you have it, and where? " * 12})
        tools = [tool(name) for name in NAMES]
        if shuffled:
            chance.shuffle(tools)
        body = {"model": model, "max_tokens": 64, "stream": stream, "system": SYSTEM, "tools": tools, "messages": [*messages]}
        lines.append({"at": turn * gap_s, "path": "/v1/messages", "body": body})
        messages.append({"role": "assistant", "content": f"Answer {turn}. " + "It is on the second shelf. " * 8})
    return lines


def chat(lines, model="gpt-4.1"):
    """The same, as Chat Completions have it."""
    found = []
    for line in lines:
        body = line["body"]
        tools = [
            {"type": "function", "function": {"name": each["name"], "description": each["description"], "parameters": each["input_schema"]}}
            for each in body["tools"]
        ]
        messages = [{"role": "system", "content": body["system"]}, *body["messages"]]
        found.append(
            {**line, "path": "/v1/chat/completions", "body": {"model": model, "stream": body["stream"], "tools": tools, "messages": messages}}
        )
    return found


@pytest.fixture
def replayed(tmp_path, capsys, monkeypatch):
    """Runs the command, cut off from every network, with real keys in the environment; gives its JSON."""

    def unreachable(*_):
        raise AssertionError("something tried to leave the machine")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-real")
    monkeypatch.setenv("PROMPT_CACHE_MODE", "off")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenrouter.toml").write_text('edits_off = "tools.order"\n')

    def run(lines, *arguments):
        path = tmp_path / "capture.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        assert main(["replay", str(path), "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def policies(report):
    return {each["id"]: (float(each["input_usd"]), each["cached_share"]) for each in report["policies"]}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_shuffles_its_tools_pays_less_with_the_gateway_and_is_told_why(replayed, stream):
    report = replayed(conversation(stream=stream))
    assert report["requests"] == 12
    found = policies(report)
    assert found["as_it_came"][1] == 0
    assert found["gateway"][0] < 0.4 * found["as_it_came"][0]
    assert float(report["bound_usd"]) <= found["gateway"][0]
    assert float(report["bound_usd"]) > 0.1 * found["as_it_came"][0]
    (broken,) = report["breaks"]
    assert (broken["cause"], broken["requests"]) == ("tools.reordered", 11)
    leak = report["leaks"][0]
    assert (leak["remedy"], leak["model"], leak["requests"]) == ("tools.order", "anthropic/claude-opus-4-8", 11)
    assert float(leak["usd"]) > 0.5 * found["as_it_came"][0]
    assert report["breaks_left"] == []
    assert {"id": "tools.order", "requests": 12} in report["edits"]


def with_a_clock(lines):
    half = len(SYSTEM) // 2
    for turn, line in enumerate(lines):
        line["body"]["system"] = f"{SYSTEM[:half]}\nNow: 2026-11-{20 + turn // 6} 10:{turn:02d}:05\n{SYSTEM[half:]}"
    return lines


def test_what_moving_a_clock_would_save_is_told_with_what_has_to_be_approved(replayed):
    report = replayed(with_a_clock(conversation(shuffled=False)))
    found = policies(report)
    assert list(found) == ["as_it_came", "marks_only", "gateway", "moved"]
    assert found["moved"][0] < 0.5 * found["gateway"][0]
    assert found["moved"][1] > found["gateway"][1] + 0.3
    (slot,) = report["slots"]
    assert slot["approve"].keys() == {"id", "kind", "left", "right"}
    assert slot["template"].endswith(f"{slot['approve']['left']}<time>{slot['approve']['right']}")
    assert "2026" not in slot["template"], "the date goes with the clock"


def with_tickets(lines, most=12):
    chance = random.Random(1)
    for line in lines:
        tickets = [(f"topic{number}", uuid.UUID(int=chance.getrandbits(128))) for number in range(most)]
        line["body"]["system"] = "\n\n".join(f"The ticket of {name} is {each} and ends {name}. " + f"More on {name}. " * 40 for name, each in tickets)
    return lines


def test_everything_that_was_moved_is_told_so_that_it_can_be_approved(replayed, monkeypatch):
    moved = []

    def watched(policy, folder, start_ns, tenant, options=None):
        moved.extend(options.movable if options is not None else ())
        return gateway_for(policy, folder, start_ns, tenant, options)

    monkeypatch.setattr(replaying, "gateway_for", watched)
    report = replayed(with_tickets(conversation(4, shuffled=False)))
    assert "moved" in policies(report)
    assert len(moved) == 12
    assert [slot["approve"]["id"] for slot in report["slots"] if slot["approve"]] == [template.id for template in moved]


@pytest.mark.parametrize(
    ("changed", "compared"),
    [
        (lambda lines: lines[:4], False),
        (lambda lines: [], False),
        (lambda lines: [{**line, "body": {**line["body"], "max_tokens": 1}} for line in lines], False),
        (lambda lines: [{**line, "at": line["at"] - 100} for line in lines], False),
        (lambda lines: [*lines, {**lines[0], "at": 5_000.0}], True),
        (lambda lines: [*lines, {**lines[0], "at": -50.0}], True),
    ],
    ids=["shorter", "empty", "other requests", "other times", "longer", "longer, and out of order"],
)
def test_a_file_that_changes_between_the_readings_compares_nothing_that_differs(replayed, monkeypatch, tmp_path, changed, compared):
    lines, again = with_a_clock(conversation(6, shuffled=False)), replaying._move

    async def moved(*arguments):
        (tmp_path / "capture.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in changed(lines)))
        await again(*arguments)

    before = policies(replayed(lines))
    monkeypatch.setattr(replaying, "_move", moved)
    after = policies(replayed(lines))
    assert after == (before if compared else {name: before[name] for name in ("as_it_came", "marks_only", "gateway")})


def test_a_file_that_goes_between_the_readings_leaves_the_rest_of_the_report(replayed, monkeypatch, tmp_path):
    again = replaying._move

    async def moved(*arguments):
        (tmp_path / "capture.jsonl").unlink()
        await again(*arguments)

    monkeypatch.setattr(replaying, "_move", moved)
    assert list(policies(replayed(with_a_clock(conversation(6, shuffled=False))))) == ["as_it_came", "marks_only", "gateway"]


def test_without_anything_to_move_nothing_is_read_twice(replayed):
    assert list(policies(replayed(conversation(3)))) == ["as_it_came", "marks_only", "gateway"]


def test_conversations_side_by_side_are_told_apart_whatever_order_their_tools_are_in(replayed):
    first, second = conversation(6, seed=1), conversation(6, seed=2)
    for line in second:
        line["at"] += 5
    report = replayed(sorted([*first, *second], key=lambda line: line["at"]))
    assert [(row["cause"], row["requests"]) for row in report["breaks"]] == [("tools.reordered", 11)]


def test_nothing_is_edited_in_what_came(replayed):
    report = replayed(chat(conversation(6)))
    found = policies(report)
    assert found["as_it_came"][1] == found["marks_only"][1] < 0.3
    assert found["gateway"][1] > 0.6


def test_a_model_that_is_not_simulated_can_be_replayed_as_another(replayed):
    lines = conversation(3, model="claude-3-5-sonnet-20241022")
    assert replayed([*conversation(1, gap_s=0), *lines])["refused"] == 3
    report = replayed(lines, "--as", "claude-3-5-sonnet-20241022=claude-sonnet-4-5")
    assert [(row["model"], row["requests"]) for row in report["models"]] == [("anthropic/claude-sonnet-4-5", 3)]


def test_a_client_without_marks_is_told_that_it_sets_none(replayed):
    report = replayed(conversation(shuffled=False))
    assert [(row["cause"], row["requests"]) for row in report["breaks"]] == [("unmarked", 11)]
    assert report["leaks"][0]["remedy"] == "marks.plan"
    found = policies(report)
    assert found["marks_only"][0] == found["gateway"][0] < 0.4 * found["as_it_came"][0]


def test_what_can_not_be_marked_is_not_promised_to_be(replayed):
    """At the end of `instructions` no breakpoint can stand; at the end of a message, one can."""

    def asked(number, **said):
        return {"at": number * 10, "path": "/v1/responses", "body": {"model": "gpt-5.6-sol", **said}}

    user = [{"role": "user", "content": f"Where is book {number}, please? " * 5} for number in range(3)]
    apart = replayed([asked(number, instructions=SYSTEM * 2, input=[user[number]]) for number in range(3)])
    inside = replayed([asked(number, input=[{"role": "developer", "content": SYSTEM * 2}, user[number]]) for number in range(3)])
    for report, remedy in ((apart, ""), (inside, "marks.plan")):
        assert [(leak["cause"], leak["place"], leak["requests"], leak["remedy"]) for leak in report["leaks"]] == [("unmarked", "root", 2, remedy)]


def test_a_client_that_marks_well_loses_nothing(replayed):
    lines = json.loads(json.dumps(conversation(shuffled=False)))
    for line in lines:
        for message in line["body"]["messages"]:
            message["content"] = [{"type": "text", "text": message["content"]}]
        line["body"]["messages"][-1]["content"][0]["cache_control"] = {"type": "ephemeral"}
    report = replayed(lines)
    assert report["breaks"] == report["leaks"] == []
    assert policies(report)["as_it_came"][1] > 0.8


def test_pauses_are_those_of_the_capture(replayed):
    short = policies(replayed(conversation(shuffled=False, gap_s=60)))
    long = policies(replayed(conversation(shuffled=False, gap_s=3 * 3600)))
    assert short["gateway"][1] > 0.7
    assert long["gateway"][1] == 0


def test_a_clock_in_the_system_text_is_found_where_it_stands(replayed):
    lines = conversation(shuffled=False)
    for turn, line in enumerate(lines):
        line["body"]["system"] = f"Rules.\nNow: 2026-11-21T10:{turn:02d}:00Z\n{SYSTEM}"
    report = replayed(chat(lines))
    assert report["breaks"][0]["cause"] == "volatile"
    assert report["slots"][0]["kind"] == "time"
    assert "Now: <time>" in report["slots"][0]["template"]
    assert "10:11:00" not in report["leaks"][0]["sentence"]


def test_apis_are_replayed_side_by_side_and_counted_by_model(replayed):
    lines = conversation()
    report = replayed(sorted([*lines, *chat(lines)], key=lambda line: line["at"]))
    assert {row["model"]: row["requests"] for row in report["models"]} == {"anthropic/claude-opus-4-8": 12, "openai/gpt-4.1": 12}
    told = {leak["model"]: leak["requests"] for leak in report["leaks"] if leak["cause"] == "tools.reordered"}
    assert told["anthropic/claude-opus-4-8"] == 11


def test_the_share_that_vendors_reported_is_told_beside(replayed):
    lines = conversation(2)
    lines[0]["usage"] = {"input_tokens": 75, "cache_read_input_tokens": 25}
    assert replayed(lines)["vendor_share"] == 0.25


def test_lines_that_can_not_be_replayed_are_named_and_are_in_no_figure(replayed):
    lines = conversation(3)
    alone = policies(replayed(lines))
    unknown = {"at": 60, "path": "/v1/messages", "body": {"model": "claude-opus-4-8", "max_tokens": 5, "messages": []}}
    report = replayed(["nonsense", *lines, unknown])
    assert [(each["number"], each["why"][:3]) for each in report["left_out"]] == [(1, "no "), (5, "400")]
    assert (report["requests"], report["mistakes"], report["refused"]) == (3, 1, 1)
    assert policies(report) == alone


def test_the_page_is_one_file_without_addresses_or_markup_of_prompts(replayed, tmp_path):
    lines = conversation()
    for turn, line in enumerate(lines):
        line["body"]["system"] = f"{EVIL} http://evil.example 2026-11-21T10:{turn:02d}:00Z {EVIL}\n{SYSTEM}"
    replayed(lines, "--html", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    opened, tags = [], set()

    class Strict(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.add(tag)
            if tag not in ("meta", "br"):
                opened.append(tag)

        def handle_startendtag(self, tag, attrs):
            tags.add(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    parser = Strict()
    parser.feed(text)
    parser.close()
    assert opened == []
    assert "svg" in tags
    assert "script" not in tags
    assert "http://" not in text
    assert "https://" not in text
    assert "&lt;script&gt;" in text  # the prompt is shown, harmless


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("\n\n", "no request is in it"),
        ("nonsense\n", "no request is in it; line 1: no JSON object"),
    ],
)
def test_a_file_without_requests_is_told_in_one_line(tmp_path, capsys, text, said):
    path = tmp_path / "capture.jsonl"
    path.write_text(text)
    assert main(["replay", str(path)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_missing_file_and_time_that_runs_backwards_are_told_in_one_line(tmp_path, capsys):
    assert main(["replay", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.endswith("nothing: No such file or directory\n")
    path = tmp_path / "capture.jsonl"
    path.write_text("".join(json.dumps({**line, "at": -line["at"]}) + "\n" for line in conversation(2)))
    assert main(["replay", str(path)]) == 1
    assert "capture.jsonl:2: time runs backwards" in capsys.readouterr().err


def test_the_terminal_report_names_costs_and_leaks(tmp_path, capsys):
    path = tmp_path / "capture.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in conversation(4)))
    assert main(["replay", str(path)]) == 0
    said = capsys.readouterr().out
    for words in ("as it came", "with the gateway", "clairvoyant bound", "tools.reordered", "edit tools.order"):
        assert words in said


@pytest.mark.parametrize("evil", ["\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "\u202e", "[bold]"])
def test_what_a_capture_says_does_nothing_to_a_terminal(tmp_path, capsys, evil):
    lines = with_a_clock(conversation(4))
    for line in lines:
        line["body"]["system"] = line["body"]["system"].replace("Now:", f"{evil} Now:")
        line["body"]["tools"][0]["name"] += "x"
    lines += [
        {"at": 400, "path": "/v1/messages", "body": {"model": f"claude-{evil}", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}}
    ]
    lines += [{"at": 400, "path": "/v1/messages", "body": {**lines[0]["body"], evil: 1}}]
    path = tmp_path / f"{evil.replace('/', '')}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["replay", str(path)]) == 0
    said = capsys.readouterr().out
    assert [sign for sign in said if not sign.isprintable() and sign != "\n"] == []
    assert evil.isprintable() == (evil in said)


def test_a_file_whose_name_is_no_utf_8_is_replayed(tmp_path, capsys):
    path = tmp_path / os.fsdecode(b"capture-\xff.jsonl")
    path.write_text(json.dumps(conversation(1)[0]))
    assert main(["replay", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"].endswith("capture-\N{REPLACEMENT CHARACTER}.jsonl")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--html", "capture.jsonl"), "this is the capture itself"),
        (("--html", "."), "a folder"),
        (("--tenant", "a b"), "--tenant a b: a tenant is"),
    ],
)
def test_wrong_arguments_are_told_before_the_work_and_the_capture_stays(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    text = json.dumps(conversation(1)[0])
    (tmp_path / "capture.jsonl").write_text(text)
    assert main(["replay", "capture.jsonl", *arguments]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert (tmp_path / "capture.jsonl").read_text() == text


def test_a_pipe_is_told_to_be_one(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert main(["replay", str(tmp_path / "pipe")]) == 1
    assert "not a file; a pipe" in capsys.readouterr().err
