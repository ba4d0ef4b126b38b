"""What a client of an API with cache breakpoints says about writes: `prompt_cache_options`."""

from typing import Literal


def cache_writing(options: object) -> Literal["", "implicit", "explicit"]:
    """See `ParamWords.cache_writing`. Options without a mode mean the API's default."""
    if not isinstance(options, dict):
        return ""
    return "explicit" if options.get("mode") == "explicit" else "implicit"
