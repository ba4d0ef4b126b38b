"""Figures in words: what terminal and page say alike."""

from tokenrouter.money import format_usd


def dollars(nano: int) -> str:
    """USD to read: two decimals from ten dollars on, four from a tenth of a cent on, else exact.

    >>> dollars(1_234_567_890), dollars(98_765_432_100), dollars(12_345)
    ('$1.2346', '$98.77', '$0.000012345')
    """
    if abs(nano) >= 10_000_000_000:
        return f"${nano / 1e9:,.2f}"
    return f"${nano / 1e9:.4f}" if abs(nano) >= 1_000_000 or not nano else f"${format_usd(nano)}"


def percent(share: float) -> str:
    """A share in hundredths.

    >>> percent(0.4912)
    '49.1 %'
    """
    return f"{100 * share:.1f} %"


def change(before: int, after: int) -> str:
    """How much less, or more.

    >>> change(200, 50), change(100, 103), change(0, 5)
    ('-75.0 %', '+3.0 %', '')
    """
    return f"{100 * (after - before) / before:+.1f} %" if before else ""


def span(seconds: float) -> str:
    """How long.

    >>> span(45), span(5400), span(200_000)
    ('45 s', '1.5 h', '2.3 d')
    """
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def harmless(text: str) -> str:
    r"""The same without what would move a terminal's cursor, ring its bell, or be no character; line ends stay.

    >>> harmless("red: \x1b[31m")
    'red: �[31m'
    """
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def one_line(text: str) -> str:
    """The same without line ends, which are shown as signs."""
    return " ⏎ ".join(text.split("\n"))
