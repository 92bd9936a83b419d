import re

import pytest

from wsfast.exceptions import InvalidOrigin
from wsfast.protocol.handshake import OriginPolicy, check_origin
from wsfast.protocol.headers import Headers


def allows(origins, origin):
    return OriginPolicy(origins).allows(origin)


@pytest.mark.parametrize(
    "origin",
    ["https://a.com", "HTTPS://A.COM", "https://a.com:443", "HttpS://a.Com:443"],
)
def test_1_10_an_origin_is_compared_by_scheme_host_and_port(origin):
    assert allows(["https://a.com"], origin)
    assert allows([origin], "https://a.com")


@pytest.mark.parametrize(
    "origin",
    [
        "http://a.com",
        "https://a.com:8443",
        "https://a.com:80",
        "https://a.com:0443",
        "https://a.com.evil",
        "https://xa.com",
        "https://a.com@evil.com",
        "https://evil.com/https://a.com",
        "https://a.com/",
        "https://a.com?",
        "https://a.com#",
        "https://a.com ",
        "https://a.com\\evil.com",
        "https://a.com:",
        "https://a.com https://a.com",
        "https://a.com, https://a.com",
        "https://",
        "a.com",
        "//a.com",
        "null",
        "",
        "*",
        "https://a.com\xa0",
        None,
    ],
    ids=ascii,
)
def test_1_10_any_other_origin_is_refused(origin):
    assert not allows(["https://a.com"], origin)


@pytest.mark.parametrize(
    ("origins", "origin"),
    [
        (None, "https://anything"),
        (None, None),
        ([None], None),
        (["https://a.com", None], None),
        (["https://a.com", "http://b.com:8080"], "http://b.com:8080"),
        (["null"], "null"),
        (["http://[::1]:80"], "http://[::1]"),
        (["https://b\xfccher.example"], "https://xn--bcher-kva.example"),
        (["chrome-extension://abcdef"], "chrome-extension://abcdef"),
        ([re.compile(r"https://[a-z]+\.a\.com")], "https://x.a.com"),
        (["https://b.com", re.compile(r"https?://a\.com(:[0-9]+)?")], "http://a.com:8080"),
    ],
)
def test_1_10_an_allowed_origin(origins, origin):
    assert allows(origins, origin)


@pytest.mark.parametrize(
    ("origins", "origin"),
    [
        ([], "https://a.com"),
        ([], None),
        ([None], ""),
        ([None], "null"),
        ([re.compile(r"https://a\.com")], None),
        ([re.compile(r"https://a\.com")], "https://a.com.evil"),
        ([re.compile(r"https://a\.com")], "xhttps://a.com"),
        ([re.compile(r"https://a\.com$")], "https://a.com\n"),
        ([re.compile(r"https://a\.com|x")], "https://a.com.evil"),
    ],
)
def test_1_10_patterns_must_match_the_whole_origin_and_none_is_explicit(origins, origin):
    assert not allows(origins, origin)


@pytest.mark.parametrize(
    ("origins", "error"),
    [
        ("https://a.com", TypeError),
        (re.compile("a"), TypeError),
        ([5], TypeError),
        ([b"https://a.com"], TypeError),
        (["a.com"], ValueError),
        (["*"], ValueError),
        (["https://a.com/"], ValueError),
        (["https://a.com/path"], ValueError),
        (["https://user@a.com"], ValueError),
        (["https://*.a.com:x"], ValueError),
        ([""], ValueError),
        (["https://" + "\xfc" * 64], ValueError),
    ],
)
def test_what_is_not_an_origin_is_refused_as_an_option(origins, error):
    with pytest.raises(error):
        OriginPolicy(origins)


@pytest.mark.parametrize(("version", "header"), [(13, "Origin"), (8, "Sec-WebSocket-Origin")])
def test_the_origin_has_another_name_in_version_8(version, header):
    policy = OriginPolicy(["https://a.com"])
    assert check_origin(Headers({header: "https://a.com"}), version, policy) == "https://a.com"
    with pytest.raises(InvalidOrigin):
        check_origin(Headers({header: "https://a.com"}), 21 - version, policy)
