from __future__ import annotations

import pytest

from syncsvc.country_alpha2 import alpha2


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("UK", "GB"),
        ("uk", "GB"),
        ("GB", "GB"),
        ("GBR", "GB"),
        ("DE", "DE"),
        ("de", "DE"),
        (" de ", "DE"),
        ("deu", "DE"),
        ("XX", None),
        ("EU", None),
        ("826", None),
        ("Germany", None),
        ("", None),
        (None, None),
        ("\N{SNOWMAN}", None),
    ],
)
def test_a_country_code_becomes_iso_3166_alpha_2(sent: str | None, expected: str | None) -> None:
    """
    UK, alpha-3 and lower case lead to the alpha-2 code; what is not known leads to none.
    """
    assert expected == alpha2(sent)
