import copy
import pickle

import pytest

from wsfast.exceptions import InvalidHandshake, InvalidHeaderFormat
from wsfast.protocol.headers import (
    Headers,
    MultipleValuesError,
    build_authorization_basic,
    build_quoted_string,
    build_www_authenticate_basic,
    is_token,
    parse_authorization_basic,
    parse_subprotocols,
    parse_token_list,
)

# The multi-dict


def test_headers_are_found_whatever_their_case():
    headers = Headers([("Content-Type", "text/plain")])
    assert headers["content-type"] == headers["CONTENT-TYPE"] == "text/plain"
    assert "content-TYPE" in headers
    assert "content" not in headers
    assert 5 not in headers


def test_a_missing_header_is_a_key_error_and_get_gives_the_default():
    headers = Headers()
    with pytest.raises(KeyError):
        headers["X"]
    assert headers.get("X") is None
    assert headers.get("X", "default") == "default"
    assert headers.get_all("X") == []


@pytest.mark.parametrize("looked_up_before", [False, True])
def test_setting_a_header_adds_one(looked_up_before):
    headers = Headers()
    headers["Cookie"] = "a=1"
    if looked_up_before:
        assert headers["cookie"] == "a=1"
    headers["cookie"] = "b=2"
    assert headers.get_all("COOKIE") == ["a=1", "b=2"]
    assert list(headers.raw_items()) == [("Cookie", "a=1"), ("cookie", "b=2")]


def test_one_of_several_values_is_a_multiple_values_error():
    headers = Headers([("X", "1"), ("x", "2")])
    with pytest.raises(MultipleValuesError, match=r"^X$") as caught:
        headers["X"]
    assert isinstance(caught.value, LookupError)
    assert not isinstance(caught.value, KeyError)
    with pytest.raises(MultipleValuesError):
        headers.get("X")


def test_deleting_a_header_deletes_all_of_its_name():
    headers = Headers([("X", "1"), ("Y", "2"), ("x", "3")])
    del headers["x"]
    assert list(headers.raw_items()) == [("Y", "2")]
    assert "X" not in headers
    with pytest.raises(KeyError):
        del headers["X"]


def test_iterating_gives_each_name_once_in_lower_case():
    headers = Headers([("X", "1"), ("Y", "2"), ("x", "3")])
    assert list(headers) == ["x", "y"]
    assert len(headers) == 2


@pytest.mark.parametrize(
    "source",
    [
        [("X", "1"), ("Y", "2")],
        {"X": "1", "Y": "2"},
        Headers([("X", "1"), ("Y", "2")]),
        iter([("X", "1"), ("Y", "2")]),
    ],
    ids=["pairs", "mapping", "headers", "iterator"],
)
def test_headers_are_made_from(source):
    assert list(Headers(source).raw_items()) == [("X", "1"), ("Y", "2")]


def test_headers_are_made_from_keywords():
    assert list(Headers({"X": "1"}, Y="2").raw_items()) == [("X", "1"), ("Y", "2")]


def test_update_keeps_what_repeats():
    headers = Headers(X="1")
    headers.update(Headers([("X", "2"), ("X", "3")]))
    assert headers.get_all("X") == ["1", "2", "3"]


def test_clear_removes_all():
    headers = Headers([("X", "1")])
    assert "X" in headers
    headers.clear()
    assert "X" not in headers
    assert headers.serialize() == b"\r\n"


@pytest.mark.parametrize(
    "duplicate",
    [Headers.copy, copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))],
    ids=["copy method", "copy.copy", "copy.deepcopy", "pickle"],
)
def test_a_copy_lives_on_its_own(duplicate):
    headers = Headers([("X", "1"), ("X", "2")])
    twin = duplicate(headers)
    assert twin == headers
    twin["X"] = "3"
    assert twin != headers
    assert headers.get_all("X") == ["1", "2"]


def test_headers_are_equal_when_they_mean_the_same():
    assert Headers([("X", "1"), ("Y", "2")]) == Headers([("y", "2"), ("x", "1")])
    assert Headers([("X", "1"), ("X", "2")]) != Headers([("X", "2"), ("X", "1")])
    assert Headers([("X", "1")]) != {"x": "1"}


def test_get_only_wants_exactly_one_header_of_the_name():
    headers = Headers([("X", "1"), ("Y", "2"), ("y", "3")])
    assert headers.get_only("x") == "1"
    assert headers.get_only("Y") is None
    assert headers.get_only("Z") is None


@pytest.mark.parametrize(
    ("name", "value", "item"),
    [
        (b"Host", b"a", ("Host", "a")),
        (b"hOST", b" \ta\t ", ("hOST", "a")),
        (b"X-1", b"\xff b", ("X-1", "\xff b")),
        (b"x", b" ", ("x", "")),
    ],
)
def test_a_received_header_is_kept_as_it_came_but_for_blanks_around_it(name, value, item):
    headers = Headers()
    headers.add_received(name, value)
    assert list(headers.raw_items()) == [item]
    assert headers[item[0].upper()] == item[1]


def test_headers_of_one_name_count_together_however_they_are_added():
    headers = Headers()
    for name in (b"Host", b"HOST", b"host"):
        headers.add_received(name, name)
    headers["hosT"] = "4"
    assert headers.get_all("Host") == ["Host", "HOST", "host", "4"]
    assert len(headers) == 1


def test_what_get_all_returns_is_not_the_headers_own():
    headers = Headers([("X", "1")])
    headers.get_all("X").append("2")
    assert headers.get_all("X") == ["1"]


def test_headers_are_serialised_in_order_as_iso_8859_1():
    headers = Headers([("X", "caf\xe9"), ("Y", ""), ("X", "a\tb")])
    assert headers.serialize() == b"X: caf\xe9\r\nY: \r\nX: a\tb\r\n\r\n"
    assert str(headers) == "X: caf\xe9\r\nY: \r\nX: a\tb\r\n\r\n"
    assert repr(Headers(X="1")) == "Headers([('X', '1')])"


CONTROLS = [chr(code) for code in (*range(0x20), 0x7F) if chr(code) != "\t"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_1_9_a_value_with_a_control_character_is_refused(control):
    headers = Headers()
    with pytest.raises(ValueError, match=r"^invalid X-Name header: ") as caught:
        headers["X-Name"] = f"a{control}b"
    assert not isinstance(caught.value, InvalidHandshake)
    assert control not in str(caught.value)
    assert headers.serialize() == b"\r\n"


@pytest.mark.parametrize("name", ["Authorization", "cookie", "Proxy-Authorization", "Set-Cookie"])
def test_the_value_of_a_header_with_credentials_is_not_shown(name):
    """It is often a token from a file, with the line feed at its end."""
    with pytest.raises(ValueError, match=rf"^invalid {name} header: \*\*\*$"):
        Headers([(name, "Bearer secret\n")])
    with pytest.raises(
        TypeError, match=rf"^the value of the {name} header must be a str, not bytes$"
    ):
        Headers([(name, b"Bearer secret")])


@pytest.mark.parametrize(
    "value", ["v\r\nSet-Cookie: a=1", "v\n", "v\r", "\r\n\r\nHTTP/1.1 200 OK", "\u010a", "\u20ac"]
)
def test_1_9_a_value_that_would_be_more_than_one_header_is_refused(value):
    with pytest.raises(ValueError, match=r"^invalid X header: "):
        Headers([("X", value)])


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "a\r\nb", "a\n", "caf\xe9", "a\0", "(a)", "a\u212a"]
)
def test_1_9_a_name_that_is_not_a_token_is_refused(name):
    headers = Headers()
    with pytest.raises(ValueError, match=r"^invalid header name: "):
        headers[name] = "v"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("X", 5, "the value of the X header must be a str, not int"),
        ("X", b"v", "the value of the X header must be a str, not bytes"),
        ("X", None, "the value of the X header must be a str, not NoneType"),
        (b"X", "v", "the name of a header must be a str, not b'X'"),
    ],
)
def test_a_name_or_value_that_is_not_text_is_refused(name, value, message):
    with pytest.raises(TypeError) as caught:
        Headers()[name] = value
    assert str(caught.value) == message


# Tokens and lists of them


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("websocket", True),
        ("!#$%&'*+-.^_`|~09azAZ", True),
        ("", False),
        ("a b", False),
        ("a,b", False),
        ("a\n", False),
        ("caf\xe9", False),
        ("websoc\u212aet", False),
        ('"a"', False),
    ],
)
def test_is_token(text, answer):
    assert is_token(text) is answer


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        (["Upgrade"], ["upgrade"]),
        (["keep-alive, Upgrade"], ["keep-alive", "upgrade"]),
        (["keep-alive", "Upgrade"], ["keep-alive", "upgrade"]),
        (["\t keep-alive \t,\tUpgrade "], ["keep-alive", "upgrade"]),
        (["", ",,Upgrade, ,"], ["upgrade"]),
        ([], []),
    ],
)
def test_a_token_list_is_read(values, tokens):
    assert parse_token_list("Connection", values) == tokens


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "a;b",
        "upgrade\x0b",
        "\x85upgrade",
        "upgrade\xa0",
        "upgrade\x1c",
        "\u2028upgrade",
        "upgr\xe4de",
    ],
    ids=ascii,
)
def test_1_8_only_space_and_tab_are_blanks_in_a_token_list(value):
    with pytest.raises(InvalidHeaderFormat) as caught:
        parse_token_list("Connection", ["keep-alive", value])
    assert caught.value.name == "Connection"
    assert caught.value.value == value


# Subprotocols: the vectors of H3


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["chat"], ["chat"]),
        (["chat,superchat"], ["chat", "superchat"]),
        (["chat , superchat,\tthird"], ["chat", "superchat", "third"]),
        (["chat", "superchat"], ["chat", "superchat"]),
        (["CHAT, chat"], ["CHAT", "chat"]),
        (
            ["hasOwnProperty, constructor, __proto__"],
            ["hasOwnProperty", "constructor", "__proto__"],
        ),
    ],
)
def test_subprotocols_are_read(values, names):
    """E7: in their order."""
    assert parse_subprotocols(values) == names


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("", "Unexpected end of input"),
        ("foo,", "Unexpected end of input"),
        ("foo, ", "Unexpected end of input"),
        ("foo ", "Unexpected end of input"),
        (" foo", "Unexpected character at index 0"),
        (",foo", "Unexpected character at index 0"),
        ("foo,,bar", "Unexpected character at index 4"),
        ("foo, ,bar", "Unexpected character at index 5"),
        ("foo bar", "Unexpected character at index 4"),
        ("foo;bar", "Unexpected character at index 3"),
        ("foo,b\x80", "Unexpected character at index 5"),
        ("foo\n", "Unexpected character at index 3"),
        ("foo,bar,foo", 'The "foo" subprotocol is duplicated'),
    ],
    ids=ascii,
)
def test_1_8_malformed_subprotocols_are_refused_with_the_place(header, problem):
    with pytest.raises(InvalidHeaderFormat) as caught:
        parse_subprotocols([header])
    assert str(caught.value) == f"invalid Sec-WebSocket-Protocol header: {problem}"
    assert caught.value.value == header


def test_1_8_a_subprotocol_repeated_in_a_second_header_is_refused():
    with pytest.raises(InvalidHeaderFormat, match='The "foo" subprotocol is duplicated'):
        parse_subprotocols(["foo", "bar, foo"])


def test_1_8_a_thousand_subprotocols_are_read():
    names = [f"p{number}" for number in range(1000)]
    assert parse_subprotocols([",".join(names)]) == names


# Basic authentication


@pytest.mark.parametrize(
    ("username", "password", "header"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
        ("test", "123\xa3", "Basic dGVzdDoxMjPCow=="),  # RFC 7617 section 2.1
        ("", "", "Basic Og=="),
        ("a", "b:c", "Basic YTpiOmM="),
    ],
)
def test_basic_credentials_go_both_ways(username, password, header):
    assert build_authorization_basic(username, password) == header
    assert parse_authorization_basic(header) == (username.encode(), password.encode())


@pytest.mark.parametrize(
    ("username", "password"),
    [("a:b", "c"), ("a\r", "b"), ("a", "b\n"), ("a\0", "b"), ("a", "\x7f")],
)
def test_credentials_that_basic_cannot_carry_are_refused_without_repeating_them(username, password):
    with pytest.raises(ValueError, match="credentials cannot have") as caught:
        build_authorization_basic(username, password)
    assert username not in str(caught.value).split()


@pytest.mark.parametrize("header", ["basic QTpi", "BASIC  QTpi"])
def test_the_scheme_is_read_whatever_its_case(header):
    assert parse_authorization_basic(header) == (b"A", b"b")


def test_credentials_need_not_be_utf_8():
    assert parse_authorization_basic("Basic /zr+") == (b"\xff", b"\xfe")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic\tQTpi",
        "Bearer QTpi",
        "Basic QTpi extra",
        "Basic QTpi\n",
        "Basic QTp!i",
        "Basic QTp",
        "Basic QQ==",  # "A", no colon
        "Basic QTpi===",
        "QTpi",
    ],
    ids=ascii,
)
def test_anything_but_basic_credentials_is_refused_without_repeating_it(header):
    with pytest.raises(InvalidHeaderFormat) as caught:
        parse_authorization_basic(header)
    assert str(caught.value) == "invalid Authorization header"


def test_1_10_the_realm_is_quoted():
    header = build_www_authenticate_basic('say "hi" \\ bye')
    assert header == 'Basic realm="say \\"hi\\" \\\\ bye", charset="UTF-8"'


@pytest.mark.parametrize("text", ["a\r\nb", "\0", "\u20ac"])
def test_1_10_a_realm_that_is_no_quoted_string_is_refused(text):
    with pytest.raises(ValueError, match="a quoted string cannot hold"):
        build_quoted_string(text)
