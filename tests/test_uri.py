import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsfast.exceptions import InvalidURI
from wsfast.uri import WebSocketURI, parse_uri


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("ws://localhost/", WebSocketURI(False, "localhost", 80, "/", "")),
        ("wss://localhost/", WebSocketURI(True, "localhost", 443, "/", "")),
        ("http://localhost/", WebSocketURI(False, "localhost", 80, "/", "")),
        ("https://localhost/", WebSocketURI(True, "localhost", 443, "/", "")),
        ("WSS://LocalHost:8443", WebSocketURI(True, "localhost", 8443, "/", "")),
        ("ws://localhost:/", WebSocketURI(False, "localhost", 80, "/", "")),
        ("ws://localhost:00080/", WebSocketURI(False, "localhost", 80, "/", "")),
        ("ws://localhost:1/", WebSocketURI(False, "localhost", 1, "/", "")),
        ("ws://localhost:65535/", WebSocketURI(False, "localhost", 65535, "/", "")),
        (
            "ws://localhost/a/../b;c?d=e?f&g",
            WebSocketURI(False, "localhost", 80, "/a/../b;c", "d=e?f&g"),
        ),
        ("ws://localhost?d", WebSocketURI(False, "localhost", 80, "/", "d")),
        ("ws://localhost/?", WebSocketURI(False, "localhost", 80, "/", "")),
        ("ws://localhost//a:b@c", WebSocketURI(False, "localhost", 80, "//a:b@c", "")),
        ("ws://127.0.0.1:8080/", WebSocketURI(False, "127.0.0.1", 8080, "/", "")),
        ("ws://my_service-1.local./", WebSocketURI(False, "my_service-1.local.", 80, "/", "")),
        ("ws://" + "a." * 127, WebSocketURI(False, "a." * 127, 80, "/", "")),
        ("ws://[::1]/", WebSocketURI(False, "::1", 80, "/", "")),
        ("wss://[2001:DB8::1]:8443/", WebSocketURI(True, "2001:db8::1", 8443, "/", "")),
        ("ws://[::ffff:127.0.0.1]/", WebSocketURI(False, "::ffff:127.0.0.1", 80, "/", "")),
    ],
)
def test_an_address_is_split_into_its_parts(uri, parts):
    """C1, C4, M1: the scheme, the port, a path that may be missing, an IPv6 address."""
    assert parse_uri(uri) == parts


@pytest.mark.parametrize(
    ("uri", "user_info"),
    [
        ("ws://localhost/", None),
        ("ws://@localhost/", None),
        ("ws://user:pass@localhost/", ("user", "pass")),
        ("ws://us%40er:p%3Aa%2Fs%25s@localhost/", ("us@er", "p:a/s%s")),
        ("ws://user:p:w@localhost/", ("user", "p:w")),
        ("ws://%20:%20@localhost/", (" ", " ")),
        ("ws://%C3%BC:%E2%82%AC@localhost/", ("\xfc", "\u20ac")),
        ("ws://\xfc:\u20ac@localhost/", ("\xfc", "\u20ac")),
        ("ws://user@localhost/", ("user", "")),
        ("ws://user:@localhost/", ("user", "")),
        ("ws://:pass@localhost/", ("", "pass")),
    ],
)
def test_c22_user_name_and_password_are_decoded(uri, user_info):
    assert parse_uri(uri).user_info == user_info


@pytest.mark.parametrize(
    ("uri", "resource_name"),
    [
        ("ws://localhost", "/"),
        ("ws://localhost/a?b", "/a?b"),
        ("ws://localhost?b", "/?b"),
        ("ws://localhost/caf\xe9 \u20ac?\xfc= ", None),
        ("ws://localhost/caf\xe9 \u20ac?\xfc= a", "/caf%C3%A9%20%E2%82%AC?%C3%BC=%20a"),
        ('ws://localhost/%2f%zz?%00[]{}|^`\\"<>', '/%2f%zz?%00[]{}|^`\\"<>'),
    ],
)
def test_the_resource_name_is_ascii(uri, resource_name):
    if resource_name is None:
        with pytest.raises(InvalidURI):
            parse_uri(uri)
    else:
        assert parse_uri(uri).resource_name == resource_name


@pytest.mark.parametrize(
    ("host", "ascii_host"),
    [
        ("b\xfccher.example", "xn--bcher-kva.example"),
        ("B\xdcCHER.example", "xn--bcher-kva.example"),
        ("\u4f8b\u3048.jp", "xn--r8jz45g.jp"),
        ("a\u3002b", "a.b"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_the_name_of_a_host_may_be_in_any_script(host, ascii_host):
    assert parse_uri(f"ws://{host}/").host == ascii_host


@pytest.mark.parametrize(
    ("uri", "unix_path", "resource_name"),
    [
        ("ws+unix:/tmp/a.sock", "/tmp/a.sock", "/"),
        ("ws+unix:/tmp/a.sock:", "/tmp/a.sock", "/"),
        ("ws+unix:/tmp/a.sock:/chat?b=c:d", "/tmp/a.sock", "/chat?b=c:d"),
        ("ws+unix:/tmp/a.sock?b", "/tmp/a.sock", "/?b"),
        ("ws+unix:/tmp/a%3Ab%20c:/d:e", "/tmp/a:b c", "/d:e"),
        ("ws+unix:////tmp/a.sock", "/tmp/a.sock", "/"),
        ("WS+UNIX:///tmp/a.sock:/\xfc", "/tmp/a.sock", "/%C3%BC"),
    ],
)
def test_c3_a_unix_socket_has_an_address(uri, unix_path, resource_name):
    parts = parse_uri(uri)
    assert (parts.unix_path, parts.resource_name) == (unix_path, resource_name)
    assert (parts.secure, parts.host_header, parts.user_info) == (False, "localhost", None)


SCHEMES = 'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"'
FORM = "Invalid URL: it is not of the form scheme://host/path"
AUTHORITY = "Invalid URL: it needs a valid host and port behind //"
HOST = "Invalid URL: the host is empty or not valid"
PORT = "Invalid URL: the port must be between 1 and 65535"
UNIX = "Invalid URL: it is not of the form ws+unix:/path/of/socket:/path"
FRAGMENT = "The URL contains a fragment identifier"
ESCAPED_CONTROL = "Invalid URL: a percent-encoded part has control characters"


@pytest.mark.parametrize(
    ("uri", "msg"),
    [
        ("foo", FORM),
        ("", FORM),
        ("/path", FORM),
        ("//localhost/", FORM),
        ("1ws://localhost/", FORM),
        (" ws://localhost/", FORM),
        ("ws://localhost/ ", FORM),
        ("ws://localhost/\n", FORM),
        ("ws://localhost/\r\nX: 1", FORM),
        ("ws://localhost/a\tb", FORM),
        ("w\ts://localhost/", FORM),
        ("ws://local\nhost/", FORM),
        ("ws://localhost/\0", FORM),
        ("ws://localhost/\x7f", FORM),
        ("ws://localhost/\x85", FORM),
        ("ws://localhost/\u2028", FORM),
        ("ws://us\r\ner@localhost/", FORM),
        ("ftp://localhost/", SCHEMES),
        ("file:///etc/passwd", SCHEMES),
        ("javascript:alert(1)", SCHEMES),
        ("wss+unix:/tmp/a", SCHEMES),
        ("localhost:8080", SCHEMES),
        ("ws://localhost/#", FRAGMENT),
        ("ws://localhost/#a", FRAGMENT),
        ("ws://localhost#a", FRAGMENT),
        ("ws://localhost/?a#b", FRAGMENT),
        ("ws+unix:/tmp/a#b", FRAGMENT),
        ("ws:localhost", HOST),
        ("ws:/localhost", HOST),
        ("ws://", HOST),
        ("ws:///path", HOST),
        ("ws://:80/", HOST),
        ("ws://user@/", HOST),
        ("ws://?a", HOST),
        ("ws://a b/", HOST),
        ("ws://a%0d%0ab/", HOST),
        ("ws://a%62/", HOST),
        ("ws://a..b/", HOST),
        ("ws://.a/", HOST),
        ("ws://a,b/", HOST),
        ("ws://a*/", HOST),
        ("ws://" + "a" * 64 + "/", HOST),
        ("ws://" + "a." * 127 + "a/", HOST),
        ("ws://" + "a." * 128 + "/", HOST),
        ("ws://" + "\xfc." * 100 + "/", HOST),
        ("ws://a\uff0fb/", HOST),  # a fullwidth "/", which IDNA makes one
        ("ws://a\uff20b/", HOST),
        ("ws://a\uff03b/", HOST),
        ("ws://a\u2100b/", HOST),
        ("ws://\u200d/", HOST),
        ("ws://[]/", HOST),
        ("ws://[::1/", AUTHORITY),
        ("ws://[::g]/", HOST),
        ("ws://[::1%25eth0]/", HOST),
        ("ws://[fe80::1%eth0]/", HOST),
        ("ws://[127.0.0.1]/", HOST),
        ("ws://[v1.a]/", HOST),
        ("ws://[::\uff11]/", HOST),
        ("ws://[[::1]]/", AUTHORITY),
        ("ws://[::1]a/", AUTHORITY),
        ("ws://::1/", AUTHORITY),
        ("ws://a@b@localhost/", AUTHORITY),
        ("ws://localhost\\@evil.example/", AUTHORITY),
        ("ws://localhost\\/", AUTHORITY),
        ("ws://localhost:0/", PORT),
        ("ws://localhost:65536/", PORT),
        ("ws://localhost:99999/", PORT),
        ("ws://localhost:000080/", AUTHORITY),
        ("ws://localhost:\uff18\uff10/", AUTHORITY),
        ("ws://localhost:+80/", AUTHORITY),
        ("ws://localhost:-1/", AUTHORITY),
        ("ws://localhost:8_0/", AUTHORITY),
        ("ws://localhost:80:80/", AUTHORITY),
        ("ws://localhost: 80/", AUTHORITY),
        ("ws://a:b%0d%0a@localhost/", ESCAPED_CONTROL),
        ("ws://a%00:b@localhost/", ESCAPED_CONTROL),
        ("ws://a:%ff@localhost/", "Invalid URL: a percent-encoded part is not UTF-8"),
        ("ws://a%3Ab:c@localhost/", "Invalid URL: the user name has a colon"),
        ("ws+unix:", "The URL's pathname is empty"),
        ("ws+unix::/path", "The URL's pathname is empty"),
        ("ws+unix://", "The URL's pathname is empty"),
        ("ws+unix://host/tmp/a", UNIX),
        ("ws+unix:tmp/a", UNIX),
        ("ws+unix:/tmp/a:b", UNIX),
        ("ws+unix:/tmp/%00", ESCAPED_CONTROL),
    ],
    ids=ascii,
)
def test_c2_1_9_what_is_not_an_address_is_refused(uri, msg):
    with pytest.raises(InvalidURI) as caught:
        parse_uri(uri)
    assert caught.value.uri == uri
    assert caught.value.msg == msg
    assert caught.value.code == "WS_ERR_INVALID_URI"
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(f" isn't a valid URI: {msg}")


@pytest.mark.parametrize(
    "uri",
    [
        "ws://user:secret@localhost:0/",
        "ws://user:se/cret@localhost/",
        "ws://us\ner:se\ncret@localhost/",
        "ws:/user:secret@localhost/",
        "user:secret@localhost",
    ],
)
def test_1_12_an_error_does_not_show_the_password(uri):
    with pytest.raises(InvalidURI) as caught:
        parse_uri(uri)
    assert "cret" not in str(caught.value)
    assert "cret" not in repr(caught.value)


def test_the_text_of_an_address_is_in_normal_form_and_without_credentials():
    """C1: http becomes ws, https becomes wss."""
    assert str(parse_uri("HTTP://user:secret@LOCALHOST:80?a")) == "ws://localhost/?a"
    assert str(parse_uri("https://[::1]:8443/")) == "wss://[::1]:8443/"
    assert str(parse_uri("ws+unix:/tmp/a%20b?c")) == "ws+unix:/tmp/a%20b:/?c"
    assert "secret" not in repr(parse_uri("ws://user:secret@localhost/"))


PARTS = st.lists(
    st.one_of(
        st.sampled_from(["ws:", "ws+unix:", "//", ":", "@", "[", "]", "?", "%41", "a", "1", "."])
    )
    | st.text(max_size=3),
    max_size=10,
)


@settings(max_examples=300, deadline=None)
@given(parts=PARTS)
def test_whatever_is_parsed_only_invalid_uri_is_raised_and_the_result_is_stable(parts):
    try:
        uri = parse_uri("".join(parts))
    except InvalidURI:
        return
    assert f"{uri.host_header}{uri.resource_name}".isascii()
    again = parse_uri(str(uri))
    assert (again.host, again.port, again.resource_name, again.unix_path) == (
        uri.host,
        uri.port,
        uri.resource_name,
        uri.unix_path,
    )
