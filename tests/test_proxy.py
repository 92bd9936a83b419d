"""The addresses of proxies, and what the environment says of them."""

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsfast.exceptions import InvalidProxy
from wsfast.proxy import Proxy, check_proxy, find_proxy, get_proxy, parse_proxy
from wsfast.uri import parse_uri


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Sets variables, and nothing else is set."""
    monkeypatch.setattr("os.environ", {})

    def set_variables(**variables):
        monkeypatch.setattr("os.environ", variables)

    return set_variables


# --- Addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "proxy"),
    [
        ("http://proxy:8080", Proxy("http", "proxy", 8080)),
        ("http://proxy", Proxy("http", "proxy", 80)),
        ("http://proxy/", Proxy("http", "proxy", 80)),
        ("https://proxy", Proxy("https", "proxy", 443)),
        ("socks4://proxy", Proxy("socks4", "proxy", 1080)),
        ("socks4a://proxy", Proxy("socks4a", "proxy", 1080)),
        ("socks5://proxy", Proxy("socks5", "proxy", 1080)),
        ("socks5h://proxy", Proxy("socks5h", "proxy", 1080)),
        ("HTTP://PROXY.Example:3128", Proxy("http", "proxy.example", 3128)),
        ("http://[::1]:8080", Proxy("http", "::1", 8080)),
        ("http://127.0.0.1:8080", Proxy("http", "127.0.0.1", 8080)),
        ("http://user:pass@proxy:8080", Proxy("http", "proxy", 8080, "user", "pass")),
        ("socks5h://us%40er:p%3Aw@proxy", Proxy("socks5h", "proxy", 1080, "us@er", "p:w")),
        ("http://user:@proxy", Proxy("http", "proxy", 80, "user", "")),
        ("socks4://user@proxy", Proxy("socks4", "proxy", 1080, "user", "")),
        ("http://m\xfcller.example", Proxy("http", "xn--mller-kva.example", 80)),
    ],
)
def test_m14_the_address_of_a_proxy_is_split_into_its_parts(address, proxy):
    assert parse_proxy(address) == proxy


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://proxy", "scheme ftp isn't supported"),
        ("ws://proxy", "scheme ws isn't supported"),
        ("socks://proxy", "scheme socks isn't supported"),
        ("proxy:8080", "scheme proxy isn't supported"),
        ("http:", "hostname isn't provided"),
        ("http://", "hostname isn't provided"),
        ("http:///", "hostname isn't provided"),
        ("http://proxy/path", "path is meaningless"),
        ("http://proxy?query", "query is meaningless"),
        ("http://proxy#fragment", "fragment is meaningless"),
        ("http://user@proxy", "username provided without password"),
        ("socks5://user@proxy", "username provided without password"),
        ("", "Invalid URL: it is not of the form scheme://host/path"),
        ("proxy", "Invalid URL: it is not of the form scheme://host/path"),
        ("http://pro xy", "Invalid URL: the host is empty or not valid"),
        ("http://proxy\r\n", "Invalid URL: it is not of the form scheme://host/path"),
        ("http://a%0d%0ab:c@proxy", "Invalid URL: a percent-encoded part has control characters"),
        ("http://a%3Ab:c@proxy", "Invalid URL: the user name has a colon"),
        ("http://proxy:0", "Invalid URL: the port must be between 1 and 65535"),
        ("http://proxy:65536", "Invalid URL: the port must be between 1 and 65535"),
        ("http://proxy:http", "Invalid URL: it needs a valid host and port behind //"),
        ("http://[::1", "Invalid URL: it needs a valid host and port behind //"),
    ],
)
def test_m14_an_address_that_is_not_one_of_a_proxy_is_refused(address, reason):
    with pytest.raises(InvalidProxy) as caught:
        parse_proxy(address)
    assert caught.value.proxy == address
    assert caught.value.msg == reason
    assert caught.value.code == "WS_ERR_INVALID_PROXY"


def test_m14_the_text_of_a_refusal_is_that_of_websockets():
    with pytest.raises(InvalidProxy) as caught:
        parse_proxy("ftp://proxy")
    assert str(caught.value) == "ftp://proxy isn't a valid proxy: scheme ftp isn't supported"


@settings(max_examples=300)
@given(st.text() | st.from_regex(r"(http|socks5):.*", fullmatch=True))
def test_m14_any_text_is_an_address_or_refused(text):
    try:
        proxy = parse_proxy(text)
    except InvalidProxy:
        return
    assert parse_proxy(str(proxy)) == Proxy(proxy.scheme, proxy.host, proxy.port)


def test_m14_a_password_is_not_shown():
    proxy = parse_proxy("http://user:secret@[::1]:8080")
    assert proxy.user_info == ("user", "secret")
    assert "secret" not in repr(proxy)
    assert str(proxy) == "http://[::1]:8080"
    with pytest.raises(InvalidProxy) as caught:
        parse_proxy("http://user:secret@proxy/path")
    assert str(caught.value) == "http://***@proxy/path isn't a valid proxy: path is meaningless"
    assert repr(caught.value) == "InvalidProxy('http://***@proxy/path', 'path is meaningless')"


@pytest.mark.parametrize(
    "proxy", ["user:secret@proxy:3128", "http:/user:secret@proxy", "http://us\ner:sec\nret@proxy"]
)
def test_a_password_is_not_shown_either_where_the_address_is_malformed(proxy):
    with pytest.raises(InvalidProxy) as caught:
        parse_proxy(proxy)
    for text in str(caught.value), repr(caught.value):
        assert "***@proxy" in text
        assert "ret" not in text


def test_m14_there_are_no_credentials_without_a_user_name():
    assert parse_proxy("http://proxy").user_info is None
    assert parse_proxy("socks4://user@proxy").user_info == ("user", "")


# --- Options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", [True, None, "http://proxy", "https://proxy", "socks5h://proxy"])
def test_m14_what_the_option_may_be(proxy):
    check_proxy(proxy, None)


@pytest.mark.parametrize("proxy", [True, "https://proxy"])
def test_m14_a_context_may_be_given_where_there_may_be_tls(proxy):
    check_proxy(proxy, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@pytest.mark.parametrize("proxy", [False, 1, b"http://proxy", Proxy("http", "proxy", 80)])
def test_m14_what_the_option_may_not_be(proxy):
    with pytest.raises(TypeError, match="proxy must be"):
        check_proxy(proxy, None)


def test_m14_the_address_is_checked_with_the_option():
    with pytest.raises(InvalidProxy):
        check_proxy("ftp://proxy", None)


@pytest.mark.parametrize(
    ("proxy", "error"),
    [
        ("http://proxy", "proxy_ssl argument is incompatible with an http:// proxy"),
        ("socks5://proxy", "proxy_ssl argument is incompatible with a socks5:// proxy"),
        (None, "proxy_ssl is of no use without a proxy"),
    ],
)
def test_m14_a_context_that_would_not_be_used_is_refused(proxy, error):
    with pytest.raises(ValueError) as caught:
        check_proxy(proxy, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert str(caught.value) == error


def test_m14_the_context_must_be_one():
    with pytest.raises(TypeError, match="proxy_ssl must be an SSLContext, not True"):
        check_proxy(True, True)


def test_c24_the_option_picks_the_proxy(environment):
    """C24: the environment, none, or the one that is given; none for a Unix socket."""
    environment(ws_proxy="http://environment:1")
    uri = parse_uri("ws://host")
    assert find_proxy(True, uri) == Proxy("http", "environment", 1)
    assert find_proxy(None, uri) is None
    assert find_proxy("socks5://given", uri) == Proxy("socks5", "given", 1080)
    for option in True, None, "http://given":
        assert find_proxy(option, parse_uri("ws+unix:/socket:/")) is None


def test_m14_a_given_proxy_is_used_whatever_no_proxy_says(environment):
    environment(no_proxy="*")
    assert find_proxy("http://given", parse_uri("ws://host")) == Proxy("http", "given", 80)


def test_m14_a_wrong_address_in_the_environment_is_refused(environment):
    environment(ws_proxy="ftp://proxy")
    with pytest.raises(InvalidProxy):
        find_proxy(True, parse_uri("ws://host"))


# --- The environment --------------------------------------------------------------------------

WS = parse_uri("ws://host:8080/")
WSS = parse_uri("wss://host:8443/")


@pytest.mark.parametrize("uri", [WS, WSS])
def test_m14_no_variable_is_no_proxy(uri):
    assert get_proxy(uri) is None


def test_m14_variables_have_an_order(environment):
    names = ["ws", "wss", "socks", "all", "https", "http"]
    variables = {f"{name}_proxy": f"http://{name}" for name in names}
    variables["socks_proxy"] = "socks5://socks"
    found = {WS: [], WSS: []}
    for name in names:
        environment(**variables)
        for uri, proxies in found.items():
            proxies.append(get_proxy(uri))
        del variables[f"{name}_proxy"]
    assert found[WS] == [
        "http://ws",
        "socks5://socks",
        "socks5://socks",
        "http://all",
        "http://https",
        "http://http",
    ]
    assert found[WSS] == [
        "http://wss",
        "http://wss",
        "socks5://socks",
        "http://all",
        "http://https",
        None,
    ]


def test_m14_variables_may_be_in_upper_case(environment):
    environment(WS_PROXY="http://upper")
    assert get_proxy(WS) == "http://upper"


def test_m14_lower_case_wins(environment):
    environment(WS_PROXY="http://upper", ws_proxy="http://lower")
    assert get_proxy(WS) == "http://lower"


def test_m14_an_empty_variable_in_lower_case_is_none(environment):
    environment(WS_PROXY="http://upper", ws_proxy="")
    assert get_proxy(WS) is None


def test_m14_a_client_of_a_cgi_script_cannot_set_the_proxy(environment):
    """The header Proxy becomes HTTP_PROXY there (CVE-2016-1000110)."""
    environment(HTTP_PROXY="http://evil", REQUEST_METHOD="GET")
    assert get_proxy(WS) is None
    environment(HTTP_PROXY="http://evil", REQUEST_METHOD="GET", http_proxy="http://good")
    assert get_proxy(WS) == "http://good"


@pytest.mark.parametrize(
    ("variable", "value", "address"),
    [
        ("ws_proxy", "proxy:3128", "http://proxy:3128"),
        ("all_proxy", " proxy ", "http://proxy"),
        ("ws_proxy", "user:pass@proxy:3128", "http://user:pass@proxy:3128"),
        ("socks_proxy", "proxy:1080", "socks5h://proxy:1080"),
        ("socks_proxy", "http://proxy:1080", "socks5h://proxy:1080"),
        ("socks_proxy", "socks4://proxy", "socks4://proxy"),
        ("all_proxy", "socks://proxy:1080/", "socks5h://proxy:1080/"),
        ("https_proxy", "socks5h://proxy", "socks5h://proxy"),
        ("https_proxy", "HTTPS://proxy", "HTTPS://proxy"),
    ],
)
def test_m14_an_address_without_a_scheme_gets_one(environment, variable, value, address):
    environment(**{variable: value})
    assert get_proxy(WS) == address


@pytest.mark.parametrize(
    ("no_proxy", "uri", "excepted"),
    [
        ("*", "ws://any.example", True),
        ("a.example, *", "ws://[::1]", True),
        ("example.com", "ws://example.com", True),
        ("example.com", "ws://EXAMPLE.com.", True),
        ("EXAMPLE.com.", "ws://example.com", True),
        ("example.com", "ws://a.b.example.com:1", True),
        ("example.com", "ws://badexample.com", False),
        ("example.com", "ws://example.com.evil", False),
        ("example.com", "ws://com", False),
        (".example.com", "ws://a.example.com", True),
        (".example.com", "ws://example.com", True),
        ("*.example.com", "ws://a.example.com", True),
        ("b.example.com", "ws://a.example.com", False),
        ("a, example.com,c", "ws://example.com", True),
        ("a example.com\tc", "ws://example.com", True),
        (",, ,", "ws://example.com", False),
        (".", "ws://example.com", False),
        ("example.com:80", "ws://example.com", True),
        ("example.com:443", "wss://example.com", True),
        ("example.com:443", "ws://example.com", False),
        ("example.com:8080", "ws://a.example.com:8080", True),
        ("example.com:http", "ws://example.com", False),
        ("m\xfcller.example", "ws://m\xfcller.example", True),
        ("xn--mller-kva.example", "ws://m\xfcller.example", True),
        ("a..b", "ws://a.b", False),
        ("127.0.0.1", "ws://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "ws://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "ws://127.0.0.1", False),
        ("0.0.1", "ws://127.0.0.1", False),
        ("1", "ws://127.0.0.1", False),
        ("10.0.0.0/8", "ws://10.1.2.3", True),
        ("10.1.2.3/8", "ws://10.4.5.6", True),
        ("10.0.0.0/8", "ws://11.1.2.3", False),
        ("10.0.0.0/8", "ws://10.example", False),
        ("10.0.0.0/99", "ws://10.0.0.0", False),
        ("::1", "ws://[::1]:8080", True),
        ("[::1]", "ws://[::1]:8080", True),
        ("[::1]:8080", "ws://[::1]:8080", True),
        ("[::1]:8081", "ws://[::1]:8080", False),
        ("0:0:0:0:0:0:0:1", "ws://[::1]", True),
        ("fd00::/8", "ws://[fd12::1]", True),
        ("fd00::/8", "ws://[fe80::1]", False),
        ("fd00::/8", "ws://10.0.0.1", False),
        ("127.0.0.0/8", "ws://[::ffff:127.0.0.1]", True),
    ],
)
def test_m14_no_proxy_has_the_exceptions(environment, no_proxy, uri, excepted):
    variables = {"all_proxy": "http://proxy"}
    for name in "no_proxy", "NO_PROXY":
        environment(**variables, **{name: no_proxy})
        assert get_proxy(parse_uri(uri)) == (None if excepted else "http://proxy")


def test_m14_no_proxy_in_lower_case_wins(environment):
    environment(all_proxy="http://proxy", no_proxy="other", NO_PROXY="*")
    assert get_proxy(WS) == "http://proxy"


def test_m14_the_settings_of_the_system_are_used_where_no_variable_is_set(environment, monkeypatch):
    """As macOS and Windows have them, which urllib reads."""
    settings = {"socks": "http://system:1080", "https": "http://system:8080"}
    monkeypatch.setattr("wsfast.proxy.SYSTEM_HAS_SETTINGS", True)
    monkeypatch.setattr("urllib.request.getproxies", lambda: settings)
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: host == "excepted")
    assert get_proxy(WSS) == "socks5h://system:1080"
    assert get_proxy(parse_uri("wss://excepted")) is None
    environment(wss_proxy="http://environment")
    assert get_proxy(WSS) == "http://environment"
    assert get_proxy(parse_uri("wss://excepted")) == "http://environment"
