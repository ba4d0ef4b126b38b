"""What tracebacks in the log leave out."""

import logging

import psycopg

from tokenrouter.observe.logging import Tactful


def told(error: Exception) -> str:
    try:
        raise RuntimeError("outer\nand more") from error
    except RuntimeError as failure:
        return Tactful().formatException((type(failure), failure, failure.__traceback__))


def test_values_that_a_database_did_not_take_are_not_told():
    text = told(psycopg.errors.CheckViolation("violates a constraint\nDETAIL:  Failing row contains (alice,\n\n bob).\nCONTEXT:  COPY t, line 1"))
    assert "CheckViolation: violates a constraint\n" in text
    assert not any(word in text for word in ("DETAIL", "alice", "bob", "COPY"))
    assert "outer\nand more" in text


def test_other_errors_are_told_whole():
    assert "one\ntwo" in told(ValueError("one\ntwo"))
    assert Tactful("%(message)s").format(logging.LogRecord("n", 1, "p", 1, "said", None, None)) == "said"
