import pytest
from support import see

from tokenrouter.adapters.inbound.wishes import read_wishes
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.call import NO_WISHES
from tokenrouter.model.edits import SWITCHABLE


def test_without_a_word_there_are_no_wishes():
    assert read_wishes({}, {}) is NO_WISHES
    assert read_wishes({"user-agent": "x"}, {}) is NO_WISHES


@pytest.mark.parametrize(
    ("said", "mode"), [("auto", "auto"), ("all", "all"), ("on", "all"), ("OFF", "off"), (" all ", "all"), (True, "all"), (False, "off"), (None, None)]
)
def test_modes_are_said_in_headers_or_members(said, mode):
    assert read_wishes({}, {"x-cache": said.strip() if isinstance(said, str) else said}).cache_mode == mode
    if isinstance(said, str):
        wishes = read_wishes({"x-cache": said, "x-dedup": said}, {})
        assert (wishes.cache_mode, wishes.dedup_mode) == (mode, mode)


def test_the_body_wins_over_the_header():
    assert read_wishes({"x-cache": "all", "x-edits-off": "tools.order"}, {"x-cache": "off"}).cache_mode == "off"
    assert read_wishes({"x-edits-off": "tools.order"}, {"x-edits-off": ["usage.ask"]}).edits_off == {"usage.ask"}


@pytest.mark.parametrize(
    ("control", "store", "max_age"),
    [
        ("no-store", False, 0),
        ("no-cache", True, 0),
        ("max-age=60", True, 60),
        ("Max-Age=0", True, 0),
        ("private, max-age=5", True, 5),
        ("public", True, None),
        ("", True, None),
    ],
)
def test_cache_control_says_how_old_an_answer_may_be_and_whether_it_is_kept(control, store, max_age):
    wishes = read_wishes({"cache-control": control}, {})
    assert (wishes.store, wishes.max_age_s) == (store, max_age)


@pytest.mark.parametrize("said", ["all", "ALL", ["all"], "all, tools.order"])
def test_all_edits_are_switched_off_by_one_word(said):
    assert read_wishes({}, {"x-edits-off": said}).edits_off == SWITCHABLE


@pytest.mark.parametrize("said", ["tools.order,usage.ask", " usage.ask , tools.order ,", ["tools.order", "usage.ask"]])
def test_edits_are_switched_off_by_id(said):
    assert read_wishes({}, {"x-edits-off": said}).edits_off == {"tools.order", "usage.ask"}


@pytest.mark.parametrize("said", ["tools.ordre", ["model.name"], 7, {"a": 1}, [["tools.order"]]])
def test_an_unknown_edit_is_refused_with_the_list_of_edits(said):
    with pytest.raises(InvalidRequest, match=r"unknown edit .*one of all, affinity\.replace, calls\.spelling, chunks\.empty") as refused:
        read_wishes({}, {"x-edits-off": said})
    assert refused.value.param == "x-edits-off"


@pytest.mark.parametrize(("name", "value"), [("x-cache", "maybe"), ("x-cache", 1), ("x-dedup", {}), ("x-metadata", "yes!"), ("x-metadata", [True])])
def test_a_value_that_means_nothing_is_refused_with_the_words_that_do(name, value):
    with pytest.raises(InvalidRequest, match=f"{name} must be one of") as refused:
        read_wishes({}, {name: value})
    assert refused.value.param == name


@pytest.mark.parametrize(("said", "wanted"), [("true", True), ("1", True), (True, True), ("off", False), (False, False), (None, False)])
def test_metadata_is_asked_for_by_a_flag(said, wanted):
    assert read_wishes({}, {"x-metadata": said}).metadata is wanted


def test_an_idempotency_key_keeps_its_case_and_has_a_length():
    assert read_wishes({"idempotency-key": " Abc "}, {}).idempotency == "Abc"
    assert read_wishes({"idempotency-key": "k" * 255}, {}).idempotency == "k" * 255
    with pytest.raises(InvalidRequest, match="255"):
        read_wishes({"idempotency-key": "k" * 256}, {})


def test_reserved_members_are_accepted():
    assert read_wishes({}, {"x-routing-strategy": "cheapest", "x-prefer-provider": ["a"], "x-else": None}) == NO_WISHES


def test_members_that_start_otherwise_are_no_wishes():
    assert see({"model": "m", "messages": [{"role": "user", "content": "a"}], "X-Cache": "all", "xcache": 1}).envelope.extensions == {}
