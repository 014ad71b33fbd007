"""
Taking JSON apart where the parser gives up: every piece as it stands, at any depth.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsvc.payloads import split_json

ATOMS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
VALUES = st.recursive(
    ATOMS.filter(lambda value: value not in {float("inf"), float("-inf")}),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
DEEP = "[" * 100_000 + "]" * 100_000


@settings(max_examples=settings().max_examples // 2)
@given(st.lists(VALUES), st.sampled_from([None, 1, "\t"]))
def test_an_array_comes_apart_into_its_elements(array: list[object], indent: int | str) -> None:
    """
    The elements cut out of an array are those that were put in, however it is spaced.
    """
    pieces = list(split_json.elements(json.dumps(array, indent=indent)))

    assert array == [json.loads(piece) for piece in pieces]


@settings(max_examples=settings().max_examples // 2)
@given(st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1, "\t"]))
def test_an_object_comes_apart_into_its_members(
    whole: dict[str, object], indent: int | str
) -> None:
    """
    The members cut out of an object are those that were put in, under their own names.
    """
    pieces = split_json.members(json.dumps(whole, indent=indent))

    assert whole == {name: json.loads(piece) for name, piece in pieces.items()}


def test_pieces_stand_as_they_were_sent() -> None:
    """
    Nothing inside a piece is respelt: spaces, escapes and digits stay.
    """
    text = '{ "a" : [ 1.10 , {"x" :"\\u0041,]}"} ] ,\n"b":"\\"" , "\\u0063":1E5 }'

    assert split_json.members(text) == {
        "a": '[ 1.10 , {"x" :"\\u0041,]}"} ]',
        "b": '"\\""',
        "c": "1E5",
    }


@pytest.mark.parametrize(("text", "expected"), [("[]", []), ("[ ]", []), ('[""]', ['""'])])
def test_an_empty_array_has_no_elements(text: str, expected: list[str]) -> None:
    """
    Nothing between the brackets is no element; an empty string is one.
    """
    assert expected == list(split_json.elements(text))


def test_depth_does_not_matter() -> None:
    """
    A piece that no parser would open is cut out like any other.
    """
    assert list(split_json.elements(f"[{DEEP},1]")) == [DEEP, "1"]
    assert split_json.members(f'{{"deep":{DEEP},"b":2}}') == {"deep": DEEP, "b": "2"}


def test_the_last_of_two_members_of_one_name_counts() -> None:
    """
    A repeated name means its last value, as it does to the parser.
    """
    assert split_json.members('{"a":1,"a":2}') == {"a": "2"}


@pytest.mark.parametrize("text", ["[1,2]", "7", '"a:b"', "null", "[[1:2]]"])
def test_what_is_no_object_has_no_members(text: str) -> None:
    """
    Elements of an array, and single values, are nobody's members.
    """
    assert split_json.members(text) == {}


@pytest.mark.parametrize("text", ["[", '{"a":[1}', "[[]", '[{"a":"]}"}'])
def test_a_text_that_is_cut_off_is_refused(text: str) -> None:
    """
    Brackets that are left open show that the end is missing.
    """
    with pytest.raises(ValueError, match="ends before its brackets do"):
        list(split_json.elements(text))


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "0",
        "-0.5e+7",
        '"\\ud800"',
        "[]",
        "{}",
        ' {"a" : [ 1 ] } ',
        "1e400",
        "9" * 5000,
        DEEP,
    ],
    ids=lambda text: str(text)[:12],
)
def test_json_is_told_from_other_texts(text: str) -> None:
    """
    Half surrogates, numbers of any size and any depth are within RFC 8259.
    """
    assert split_json.is_json(text)


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "[Infinity]", "[-Infinity]", "[1,]", '{"a":1,}', "{'a':1}", "01", "1 2", '"\n"'],
)
def test_what_only_looks_like_json_is_refused(text: str) -> None:
    """
    What common parsers let pass beyond RFC 8259 does not pass here.
    """
    assert not split_json.is_json(text)


@pytest.mark.parametrize("text", ["[1,]", "[,1]", "[1,,2]", '{"a":1,}', "[,]"])
def test_a_comma_too_many_is_no_json(text: str) -> None:
    """
    What a parser would refuse is not let through for being cut into pieces.
    """
    with pytest.raises(ValueError, match="comma"):
        list(split_json.elements(text))
