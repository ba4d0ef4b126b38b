"""What the simulated vendors charge: their own price list, so that the bill checks the gateway's arithmetic instead of repeating it.

Values: the price data of genai-prices 0.2.3, read once by hand on 2026-11-21 and written down here in thousandths of a dollar per
million tokens; `PriceList` holds nano-USD per million tokens. Where a vendor charges nothing for cache writes, a written token costs
what a plain one does. OpenAI names a price of 12h writes for gpt-6.1-terra, twice that of 30m ones: we assume the same of its relatives.
"""

import msgspec

_MILLI = 1_000_000
"""Nano-USD in a thousandth of a dollar."""

_MTOK = 1_000_000


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one request in disjoint classes: the sum of the input classes is the whole prompt. `write_1h` holds 12h writes too."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_30m + self.cache_write_1h


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD per million tokens of each class. Above `long_above` prompt tokens the whole request is priced by `long`."""

    input: int
    read: int
    write: int
    write_long: int
    output: int
    long_above: int = 0
    long: "Price | None" = None

    def cost(self, tokens: Tokens) -> int:
        """Nano-USD, summed first and divided once, half to even.

        >>> PRICES["claude-opus-5-5"].cost(Tokens(input=2000, cache_read=6000, cache_write_5m=500, cache_write_1h=1500))
        23700000
        """
        if self.long is not None and tokens.prompt > self.long_above:
            return self.long.cost(tokens)
        total = (
            tokens.input * self.input
            + tokens.cache_read * self.read
            + (tokens.cache_write_5m + tokens.cache_write_30m) * self.write
            + tokens.cache_write_1h * self.write_long
            + tokens.output * self.output
        )
        quotient, rest = divmod(total, _MTOK)
        return quotient + (rest * 2 > _MTOK or (rest * 2 == _MTOK and quotient % 2 == 1))


def _price(
    plain: int, read: int, output: int, write: int | None = None, write_long: int | None = None, long: Price | None = None, above: int = 0
) -> Price:
    """A price from thousandths of a dollar per million tokens."""
    write = plain if write is None else write
    write_long = write if write_long is None else write_long
    return Price(
        input=plain * _MILLI,
        read=read * _MILLI,
        write=write * _MILLI,
        write_long=write_long * _MILLI,
        output=output * _MILLI,
        long_above=above,
        long=long,
    )


PRICES: dict[str, Price] = {
    # https://developers.openai.com/api/docs/pricing
    "gpt-4o": _price(2500, 1250, 10_000),
    "gpt-4o-mini": _price(150, 75, 600),
    "gpt-4.1": _price(2000, 500, 8000),
    "gpt-4.1-mini": _price(400, 100, 1600),
    "gpt-4.1-nano": _price(100, 25, 400),
    "gpt-5": _price(1250, 125, 10_000),
    "gpt-5-mini": _price(250, 25, 2000),
    "gpt-5-nano": _price(50, 5, 400),
    "gpt-5.1": _price(1250, 125, 10_000),
    "gpt-5.2": _price(1750, 175, 14_000),
    "gpt-5.4": _price(2500, 250, 15_000, long=_price(5000, 500, 22_500), above=272_000),
    "gpt-5.4-mini": _price(750, 75, 4500),
    "gpt-5.5": _price(5000, 500, 30_000, long=_price(10_000, 1000, 45_000), above=272_000),
    "gpt-5.6-sol": _price(4000, 400, 20_000, 5000, 10_000, long=_price(8000, 800, 30_000, 10_000, 20_000), above=272_000),
    "gpt-5.6-terra": _price(2000, 200, 12_000, 2500, 5000, long=_price(4000, 400, 18_000, 5000, 10_000), above=272_000),
    "gpt-6-sol": _price(2000, 200, 10_000, 2500, 5000, long=_price(4000, 400, 15_000, 5000, 10_000), above=272_000),
    "gpt-6.1-sol": _price(2000, 100, 10_000, 2500, 5000, long=_price(4000, 200, 15_000, 5000, 10_000), above=272_000),
    "gpt-6.1-terra": _price(1000, 50, 5000, 1250, 2500, long=_price(2000, 100, 7500, 2500, 5000), above=272_000),
    "o1": _price(15_000, 7500, 60_000),
    "o3": _price(2000, 500, 8000),
    "o3-mini": _price(1100, 550, 4400),
    "o4-mini": _price(1100, 275, 4400),
    "text-embedding-3-small": _price(20, 20, 0),
    "text-embedding-3-large": _price(130, 130, 0),
    "text-embedding-ada-002": _price(100, 100, 0),
    # https://platform.claude.com/docs/en/about-claude/pricing
    "claude-opus-5-5": _price(4000, 200, 20_000, 5000, 8000),
    "claude-opus-5": _price(5000, 500, 25_000, 6250, 10_000),
    "claude-opus-4-8": _price(5000, 500, 25_000, 6250, 10_000),
    "claude-opus-4-7": _price(5000, 500, 25_000, 6250, 10_000),
    "claude-opus-4-6": _price(5000, 500, 25_000, 6250, 10_000),
    "claude-opus-4-5": _price(5000, 500, 25_000, 6250, 10_000),
    "claude-opus-4-1": _price(15_000, 1500, 75_000, 18_750, 30_000),
    "claude-sonnet-5-5": _price(2000, 100, 10_000, 2500, 4000),
    "claude-sonnet-5": _price(2000, 200, 10_000, 2500, 4000),
    "claude-sonnet-4-6": _price(3000, 300, 15_000, 3750, 6000),
    "claude-sonnet-4-5": _price(3000, 300, 15_000, 3750, 6000, long=_price(6000, 600, 22_500, 7500, 12_000), above=200_000),
    "claude-haiku-5-5": _price(100, 10, 500, 125, 200, long=_price(500, 50, 2500, 625, 1000), above=100_000),
    "claude-haiku-4-5": _price(1000, 100, 5000, 1250, 2000),
    "claude-fable-5": _price(10_000, 1000, 50_000, 12_500, 20_000),
    "claude-fable-5-1": _price(10_000, 250, 50_000, 12_500, 20_000),
    # https://api-docs.deepseek.com/quick_start/pricing (off-peak prices; the weekday peak is not simulated)
    "deepseek-chat": _price(270, 70, 1100),
    "deepseek-reasoner": _price(550, 140, 2190),
    "deepseek-v4-flash": _price(300, 6, 1200),
    "deepseek-v4-pro": _price(1320, 44, 3960),
    # https://ai.google.dev/gemini-api/docs/pricing
    "gemini-2.5-flash": _price(300, 30, 2500),
    "gemini-2.5-flash-lite": _price(100, 10, 400),
    "gemini-2.5-pro": _price(1250, 125, 10_000, long=_price(2500, 250, 15_000), above=200_000),
    "gemini-3-pro-preview": _price(2000, 200, 12_000, long=_price(4000, 400, 18_000), above=200_000),
    "gemini-3.1-pro-preview": _price(2000, 200, 12_000, long=_price(4000, 400, 18_000), above=200_000),
    "gemini-3.5-flash": _price(1500, 150, 9000),
    "gemini-3.6-flash": _price(750, 75, 3750),
    "gemini-4-argon": _price(2000, 100, 10_000),
    "gemini-embedding-001": _price(150, 150, 0),
    # Ollama runs on the caller's own machine
    "llama3.2:latest": _price(0, 0, 0),
    "qwen3:8b": _price(0, 0, 0),
    "gpt-oss:20b": _price(0, 0, 0),
    "gemma3:4b": _price(0, 0, 0),
    "qwen3-vl:8b": _price(0, 0, 0),
    "qwen2.5-coder:1.5b": _price(0, 0, 0),
    "nomic-embed-text:latest": _price(0, 0, 0),
    # https://aws.amazon.com/bedrock/pricing/: `global.` profiles cost what Anthropic's list says, plain and regional ids a tenth more
    "bedrock/global.claude-opus-5-5": _price(4000, 200, 20_000, 5000, 8000),
    "bedrock/claude-opus-5-5": _price(4400, 220, 22_000, 5500, 8800),
    "bedrock/global.claude-opus-5": _price(5000, 500, 25_000, 6250, 10_000),
    "bedrock/claude-opus-5": _price(5500, 550, 27_500, 6875, 11_000),
    "bedrock/global.claude-opus-4-8": _price(5000, 500, 25_000, 6250, 10_000),
    "bedrock/claude-opus-4-8": _price(5500, 550, 27_500, 6875, 11_000),
    "bedrock/global.claude-opus-4-7": _price(5000, 500, 25_000, 6250, 10_000),
    "bedrock/claude-opus-4-7": _price(5500, 550, 27_500, 6875, 11_000),
    "bedrock/global.claude-opus-4-6": _price(5000, 500, 25_000, 6250, 10_000),
    "bedrock/claude-opus-4-6": _price(5500, 550, 27_500, 6875, 11_000),
    "bedrock/global.claude-opus-4-5": _price(5000, 500, 25_000, 6250, 10_000),
    "bedrock/claude-opus-4-5": _price(5500, 550, 27_500, 6875, 11_000),
    "bedrock/claude-opus-4-1": _price(15_000, 1500, 75_000, 18_750),
    "bedrock/global.claude-sonnet-5-5": _price(2000, 100, 10_000, 2500, 4000),
    "bedrock/claude-sonnet-5-5": _price(2200, 110, 11_000, 2750, 4400),
    "bedrock/global.claude-sonnet-5": _price(2000, 200, 10_000, 2500, 4000),
    "bedrock/claude-sonnet-5": _price(2200, 220, 11_000, 2750, 4400),
    "bedrock/global.claude-sonnet-4-6": _price(3000, 300, 15_000, 3750, 6000),
    "bedrock/claude-sonnet-4-6": _price(3300, 330, 16_500, 4125, 6600),
    "bedrock/global.claude-sonnet-4-5": _price(3000, 300, 15_000, 3750, 6000),
    "bedrock/claude-sonnet-4-5": _price(3300, 330, 16_500, 4125, 6600),
    "bedrock/global.claude-haiku-4-5": _price(1000, 100, 5000, 1250, 2000),
    "bedrock/claude-haiku-4-5": _price(1100, 110, 5500, 1375, 2200),
    "bedrock/global.claude-fable-5-1": _price(10_000, 250, 50_000, 12_500, 20_000),
    "bedrock/claude-fable-5-1": _price(11_000, 275, 55_000, 13_750, 22_000),
    "bedrock/global.claude-fable-5": _price(10_000, 1000, 50_000, 12_500, 20_000),
    "bedrock/claude-fable-5": _price(11_000, 1100, 55_000, 13_750, 22_000),
    "bedrock/nova-lite": _price(60, 15, 240),
    "bedrock/nova-pro": _price(800, 200, 3200),
    "bedrock/llama3-3-70b-instruct": _price(720, 720, 720),
    "bedrock/llama4-maverick-17b-instruct": _price(240, 240, 970),
    # the sandbox's own model, priced as one dollar in, two dollars out
    "echo": _price(1000, 1000, 2000),
}
