"""
ISO 3166-1 country codes, and the provider's own code UK for the United Kingdom.
"""

from __future__ import annotations

from functools import cache, lru_cache

import iso3166


@lru_cache(maxsize=1024)
def alpha2(code: str | None) -> str | None:
    """
    Return a country's alpha-2 code, given that or another code; None if the code is unknown.
    """
    wanted = (code or "").strip().upper()
    return alpha2_by_other_code().get(wanted) or _known(wanted)


@cache
def alpha2_by_other_code() -> dict[str, str]:
    """
    Map the provider's UK and every alpha-3 code to the country's alpha-2 code.
    """
    return {"UK": "GB", **{country.alpha3: country.alpha2 for country in iso3166.countries}}


def _known(code: str) -> str | None:
    return code if code in iso3166.countries_by_alpha2 else None
