"""The grammar of Sec-WebSocket-Extensions, read and written; the rows H1, H2, H3, H5."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsfast.exceptions import InvalidHeaderFormat
from wsfast.extensions import format_extensions, parse_extensions
from wsfast.protocol.headers import parse_subprotocols

both = pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])


def error_of(header, strict=False):
    with pytest.raises(InvalidHeaderFormat) as caught:
        parse_extensions(header, strict=strict)
    assert caught.value.name == "Sec-WebSocket-Extensions"
    assert caught.value.value == header
    return str(caught.value).removeprefix("invalid Sec-WebSocket-Extensions header: ")


# What both grammars read


@both
@pytest.mark.parametrize(
    ("header", "extensions"),
    [
        ("foo", [("foo", {})]),
        ("a, b", [("a", {}), ("b", {})]),
        ("a, a", [("a", {}), ("a", {})]),
        ("a; b", [("a", {"b": True})]),
        ("a; b=1", [("a", {"b": 1})]),
        ("a;b;c=1;d=hi", [("a", {"b": True, "c": 1, "d": "hi"})]),
        ("a; b; c=1; b=hi", [("a", {"b": [True, "hi"], "c": 1})]),
        ("a; b; b", [("a", {"b": [True, True]})]),
        ("a; b=1; b=1; b=1", [("a", {"b": [1, 1, 1]})]),
        ("foo;bar;baz=1;bar=2", [("foo", {"bar": [True, 2], "baz": 1})]),
        ("foo,bar;baz,foo;baz", [("foo", {}), ("bar", {"baz": True}), ("foo", {"baz": True})]),
        (
            "a; b=1, c, b; d, c; e=hi; e, a; b",
            [
                ("a", {"b": 1}),
                ("c", {}),
                ("b", {"d": True}),
                ("c", {"e": ["hi", True]}),
                ("a", {"b": True}),
            ],
        ),
        ('foo;bar="hi"', [("foo", {"bar": "hi"})]),
        (r'foo;bar="\0"', [("foo", {"bar": 0})]),
        (r'foo;bar="b\a\z"', [("foo", {"bar": "baz"})]),
        (r'foo;bar="b\az";bar', [("foo", {"bar": ["baz", True]})]),
        (
            'foo; bar\t; \tbaz=1\t ;  bar="1"\t\t, \tqux\t ;norf',
            [("foo", {"bar": [True, 1], "baz": 1}), ("qux", {"norf": True})],
        ),
        ("hasOwnProperty, toString", [("hasOwnProperty", {}), ("toString", {})]),
        ("__class__; __init__; get=items", [("__class__", {"__init__": True, "get": "items"})]),
        ("X-Foo; B=Hi; b=hi", [("X-Foo", {"B": "Hi", "b": "hi"})]),
        ("!#$%&'*+-.^_`|~", [("!#$%&'*+-.^_`|~", {})]),
    ],
)
def test_h1_h5_extensions_are_read(header, extensions, strict):
    """E6, H1, H5: by both grammars."""
    assert parse_extensions(header, strict=strict) == extensions


@both
def test_the_header_of_the_documentation_is_read_as_it_says(strict):
    header = (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
        "permessage-deflate; server_max_window_bits=15"
    )
    assert parse_extensions(header, strict=strict) == [
        ("permessage-deflate", {"server_no_context_takeover": True, "server_max_window_bits": 8}),
        ("permessage-deflate", {"server_max_window_bits": 15}),
    ]


@both
@pytest.mark.parametrize("quoted", [False, True], ids=["bare", "quoted"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("15", 15),
        ("-1", -1),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("8.0", 8.0),
        ("999999999999999", 999999999999999),
        ("1000000000000000", "1000000000000000"),
        ("9" * 5000, "9" * 5000),
        ("010", "010"),
        ("1e3", "1e3"),
        ("+1", "+1"),
        ("1.", "1."),
        (".5", ".5"),
        ("-", "-"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("inf", "inf"),
        ("nan", "nan"),
    ],
    ids=lambda text: str(text)[:20],
)
def test_decimal_numbers_are_numbers_also_when_quoted(text, value, quoted, strict):
    header = f'a; b="{text}"' if quoted else f"a; b={text}"
    [(name, parameters)] = parse_extensions(header, strict=strict)
    assert parameters == {"b": value}
    assert type(parameters["b"]) is type(value)


# What both grammars refuse


@both
@pytest.mark.parametrize(
    ("header", "index"),
    [
        *[(",", 0), ("foo,,", 4), ("foo,  ,", 6), ("foo;=", 4), ("foo; =", 5), ("foo;;", 4)],
        *[("foo; ;", 5), ("foo;bar=,", 8), (" foo", 0), ("\tfoo", 0), ("f oo", 2)],
        *[("foo;ba r", 7), ("foo;bar =", 8), ("foo;bar= ", 8), ("foo;bar=ba z", 11)],
        *[("f@o", 1), ("f\\oo", 1), ('"foo"', 0), ('f"oo"', 1), ("foo;b@r", 5)],
        *[("foo;b\\ar", 5), ('foo;"bar"', 4), ('foo;b"ar"', 5), ("foo;bar=b@z", 9)],
        *[("foo;bar=b\\az ", 9), ('foo;bar=b"az"', 9), ('foo;bar="baz"qux', 13)],
        *[('foo;bar="baz" qux', 14), ("foo=1", 3), ("foo;bar=\\a", 8), ("foo;\\", 4)],
        *[("foo\n", 3), ("foo;bar=1\n", 9), ("foo\x80", 3), ("f\x00", 1), ("f\u0131", 1)],
        *[('foo;bar="\x01"', 9), ('foo;bar="\\\x01"', 10), ('foo;bar="a\r\n"', 10)],
        *[('foo;bar="\u0131"', 9), ("x-webkit- -frame", 10)],
    ],
    ids=ascii,
)
def test_h1_what_is_no_list_of_extensions_is_refused_with_the_place(header, index, strict):
    assert error_of(header, strict) == f"Unexpected character at index {index}"


@both
@pytest.mark.parametrize(
    "header",
    [
        *("foo ", "foo\t", "foo,", "a,", "foo, ", "foo;", "foo;bar ", "foo;bar,", "foo;bar; "),
        *("foo;bar=", 'foo;bar="baz', 'foo;bar="1\\', 'foo;bar="baz" ', 'foo;bar="'),
        r'foo;bar="a\a\a\a\a\a\a\a',
    ],
    ids=ascii,
)
def test_h1_what_ends_too_early_is_refused(header, strict):
    assert error_of(header, strict) == "Unexpected end of input"


# Where they differ


def test_h5_only_the_lenient_grammar_takes_an_empty_header():
    assert parse_extensions("") == []
    assert error_of("", strict=True) == "Unexpected end of input"


@pytest.mark.parametrize(
    ("header", "value", "index"),
    [
        (r'a; b="hi, \"there"', 'hi, "there', 8),
        ('a; b=""', "", 6),
        ('a; b=" "', " ", 6),
        ('a; b="\t"', "\t", 6),
        ('a; b="b@z"', "b@z", 7),
        ('a; b="baz;"', "baz;", 9),
        (r'a; b="\\"', "\\", 7),
        (r'a; b="x\\"', r"x\ ".strip(), 8),
        (r'a; b="\\\\n"', r"\\n", 7),
        ('a; b="\xe9"', "\xe9", 6),
    ],
)
def test_h1_h5_only_the_lenient_grammar_takes_any_text_in_quotes(header, value, index):
    assert parse_extensions(header) == [("a", {"b": value})]
    assert error_of(header, strict=True) == f"Unexpected character at index {index}"


@pytest.mark.parametrize("header", ["foo,foo", "foo, bar, foo"])
def test_h3_the_same_scanner_reads_subprotocols_which_may_not_repeat(header):
    """H3, E7: a duplicate is an error."""
    assert len(parse_extensions(header)) == header.count(",") + 1
    with pytest.raises(InvalidHeaderFormat, match='The "foo" subprotocol is duplicated'):
        parse_subprotocols([header])


@both
@pytest.mark.parametrize("header", ["foo bar", "foo,,bar", " foo", "foo ", "f@o", "foo,", "foo\n"])
def test_h3_the_same_scanner_finds_the_same_places_in_subprotocols(header, strict):
    with pytest.raises(InvalidHeaderFormat) as caught:
        parse_subprotocols([header])
    assert str(caught.value).endswith(": " + error_of(header, strict))


# Linear time. Whatever is quadratic does not end before the test's timeout.


@both
@pytest.mark.parametrize(
    "header",
    [
        "a" + " " * 100_000,
        "a;" + "\t " * 50_000,
        "a," + " " * 100_000 + "b c",
        "a" + " ,b" * 30_000 + " ",
        'a; b="' + "c" * 100_000,
        'a; b="' + "\\c" * 50_000,
        'a; b="' + "\\" * 100_001,
        "a; b=" + '"c"' * 30_000,
        "a" + "; b" * 30_000 + ";",
        "a; b=" + "0" * 100_000 + " ",
        "a; b=" + "1." * 50_000 + " ",
    ],
    ids=lambda header: ascii(header[:16]),
)
def test_1_8_ws_cve_2021_32640_100_kilobytes_take_linear_time(header, strict):
    assert error_of(header, strict).startswith("Unexpected ")


# Writing


@pytest.mark.parametrize(
    ("extensions", "header"),
    [
        ([], ""),
        ([("a", {})], "a"),
        ([("a", {"b": True})], "a; b"),
        ([("a", {"b": "42"})], "a; b=42"),
        ([("a", {"b": 42})], "a; b=42"),
        ([("a", {"b": -1.5})], "a; b=-1.5"),
        ([("a", {"b": 1e-7, "c": 1e20})], "a; b=0.0000001; c=100000000000000000000"),
        ([("a", {"b": "hi, there"})], 'a; b="hi, there"'),
        ([("a", {"b": ""})], 'a; b=""'),
        ([("a", {"b": True, "c": 1, "d": "hi"})], "a; b; c=1; d=hi"),
        ([("a", {"b": [True, "hi"], "c": 1})], "a; b; b=hi; c=1"),
        ([("a", {"b": (True, 2), "c": []})], "a; b; b=2"),
        ([("foo", {"bar": [True, 2], "baz": 1}), ("foo", {})], "foo; bar; bar=2; baz=1, foo"),
        ([("foo", {}), ("foo", {"baz": True}), ("bar", {"baz": True})], "foo, foo; baz, bar; baz"),
    ],
)
def test_h2_extensions_are_written(extensions, header):
    """E6, H2: in their order."""
    assert format_extensions(extensions) == header


def test_3_3_backslashes_and_quotes_are_escaped_and_come_back():
    extensions = [("a", {"b": r"C:\dir \"x\"", "c": "\\"})]
    header = format_extensions(extensions)
    assert header == r'a; b="C:\\dir \\\"x\\\""; c="\\"'
    assert parse_extensions(header) == extensions


def test_3_3_every_value_that_needs_quotes_has_them():
    values = [", x", ", y", ", z", "; w"]
    header = format_extensions([("a", {"b": values})])
    assert header == 'a; b=", x"; b=", y"; b=", z"; b="; w"'
    assert parse_extensions(header) == [("a", {"b": values})]


@pytest.mark.parametrize(
    ("extensions", "kind", "text"),
    [
        ([("a", None)], TypeError, "the parameters of a must be a mapping, not None"),
        ([("a", {"b": False})], TypeError, "a: b must be True, a number or a str, not False"),
        ([("a", {"b": None})], TypeError, "a: b must be True, a number or a str, not None"),
        ([("a", {"b": [b"x"]})], TypeError, "a: b must be True, a number or a str, not b'x'"),
        ([("a", {"b": float("inf")})], ValueError, "a: b must be finite, not inf"),
        ([("a b", {})], ValueError, "must be a token, not 'a b'"),
        ([("a", {"b=c": True})], ValueError, "must be a token, not 'b=c'"),
        ([("a", {5: True})], ValueError, "must be a token, not 5"),
        ([("a", {"b": "x\r\ny"})], ValueError, "cannot hold"),
        ([("a", {"b": "\u0131"})], ValueError, "cannot hold"),
    ],
)
def test_what_cannot_stand_in_a_header_is_not_written(extensions, kind, text):
    with pytest.raises(kind, match=text):
        format_extensions(extensions)


# Round trips

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")

tokens = st.text("abzAZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
texts = st.text(st.characters(max_codepoint=0xFF, exclude_categories=["Cc"]) | st.just("\t"))
# As they are read: a str that looks like a number is one, and a list has at least two.
values = (
    (tokens | texts).filter(lambda text: not NUMBER.fullmatch(text))
    | st.just(True)
    | st.integers(-(10**15) + 1, 10**15 - 1)
    | st.decimals(-(10**9), 10**9, places=6).map(float)
)
parameters = st.dictionaries(tokens, values | st.lists(values, min_size=2))


@given(st.lists(st.tuples(tokens, parameters)))
@example([("a", {"b": [True, 1, 1.0, "x", ""]})])
def test_3_3_what_is_written_is_read_as_the_same(extensions):
    again = parse_extensions(format_extensions(extensions))
    assert again == extensions
    assert repr(again) == repr(extensions)  # which knows True from 1, and 1 from 1.0


@given(st.text('ab1;,= \t"\\\x00\x80', max_size=40))
def test_what_the_strict_grammar_reads_the_lenient_one_reads_alike(header):
    try:
        extensions = parse_extensions(header, strict=True)
    except InvalidHeaderFormat:
        return
    assert parse_extensions(header) == extensions
