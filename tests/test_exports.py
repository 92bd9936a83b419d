"""What the package exports, and the tree of its exceptions."""

import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

import wsfast
from wsfast import exceptions
from wsfast.exceptions import WIRE_ERRORS, wire_error

# Each exception with the one above it.
TREE = {
    "WebSocketException": Exception,
    "ConnectionClosed": "WebSocketException",
    "ConnectionClosedOK": "ConnectionClosed",
    "ConnectionClosedError": "ConnectionClosed",
    "NetworkError": "WebSocketException",
    "InvalidURI": "WebSocketException",
    "InvalidProxy": "WebSocketException",
    "InvalidHandshake": "WebSocketException",
    "SecurityError": "InvalidHandshake",
    "RequestLineTooLong": "SecurityError",
    "StatusLineTooLong": "SecurityError",
    "HeaderLineTooLong": "SecurityError",
    "TooManyHeaders": "SecurityError",
    "InvalidMessage": "InvalidHandshake",
    "InvalidMethod": "InvalidHandshake",
    "InvalidPath": "InvalidHandshake",
    "InvalidStatus": "InvalidHandshake",
    "InvalidHeader": "InvalidHandshake",
    "InvalidHeaderFormat": "InvalidHeader",
    "InvalidHeaderValue": "InvalidHeader",
    "InvalidOrigin": "InvalidHeader",
    "InvalidUpgrade": "InvalidHeader",
    "InvalidVersion": "InvalidHeader",
    "NegotiationError": "InvalidHandshake",
    "DuplicateParameter": "NegotiationError",
    "InvalidParameterName": "NegotiationError",
    "InvalidParameterValue": "NegotiationError",
    "UnexpectedExtension": "NegotiationError",
    "ProxyError": "InvalidHandshake",
    "InvalidProxyMessage": "ProxyError",
    "InvalidProxyStatus": "ProxyError",
    "RedirectError": "SecurityError",
    "ProtocolError": "WebSocketException",
    "PayloadTooBig": "ProtocolError",
    "TooManyFragments": "ProtocolError",
    "ExtensionError": "WebSocketException",
    "OpenTimeout": "WebSocketException",
    "KeepaliveTimeout": "WebSocketException",
    "SendFailed": "WebSocketException",
    "WriteBufferFull": "WebSocketException",
    "InvalidState": "WebSocketException",
    "ConcurrencyError": "WebSocketException",
}

# Everything of the documented API; what is added to it must be added here, too.
NAMES = [
    *TREE,
    *("BACKEND", "ClientInfo", "Close", "CloseCode", "Data", "DataLike", "Headers", "Opcode"),
    *("Options", "Origin", "Request", "Response", "State", "Statistics", "Subprotocol"),
    *("WebSocket", "WebSocketServer", "__version__", "accept_key", "basic_auth", "broadcast"),
    *("backoff", "connect", "process_exception", "serve", "upgrade_response", "wrap"),
    *("Codec", "HeaderJSON", "HeaderMessage"),
    *("Bearer", "CORS", "Forwarded", "TrustedProxies", "bearer_auth"),
    *("ClientStatistics", "Monitor", "Rates", "RoundTrips", "ServerStatistics"),
    "create_websocket_stream",
]

CLOSE = wsfast.Close(1000, "bye")
RESPONSE = wsfast.Response(404, "Not Found", wsfast.Headers())
EXAMPLES = [
    wsfast.WebSocketException("text"),
    wsfast.ConnectionClosed(CLOSE, None),
    wsfast.ConnectionClosedOK(CLOSE, CLOSE, True),
    wsfast.ConnectionClosedError(None, None),
    wsfast.NetworkError.wrap(ConnectionResetError(104, "reset")),
    wsfast.InvalidURI("ws://", "no host"),
    wsfast.InvalidProxy("ftp://host", "scheme ftp isn't supported"),
    wsfast.InvalidHandshake("text"),
    wsfast.SecurityError("text"),
    wsfast.RequestLineTooLong("text"),
    wsfast.StatusLineTooLong("text"),
    wsfast.HeaderLineTooLong("text"),
    wsfast.TooManyHeaders("text"),
    wsfast.RedirectError("text"),
    wsfast.InvalidMessage("text"),
    wsfast.InvalidMethod("POST"),
    wsfast.InvalidPath("/"),
    wsfast.InvalidStatus(RESPONSE),
    wsfast.InvalidHeader("X", "value"),
    wsfast.InvalidHeaderFormat("X", "value", "said otherwise"),
    wsfast.InvalidHeaderValue("X"),
    wsfast.InvalidOrigin("https://a"),
    wsfast.InvalidUpgrade("Upgrade", ""),
    wsfast.InvalidVersion("Sec-WebSocket-Version", "7"),
    wsfast.NegotiationError("text"),
    wsfast.DuplicateParameter("name"),
    wsfast.InvalidParameterName("name"),
    wsfast.InvalidParameterValue("name", None),
    wsfast.UnexpectedExtension("text"),
    wsfast.ProxyError("text"),
    wsfast.InvalidProxyMessage("text"),
    wsfast.InvalidProxyStatus(RESPONSE),
    wsfast.ProtocolError("text", "WS_ERR_X", 1007),
    wsfast.PayloadTooBig(2097152, 1048576),
    wsfast.TooManyFragments(4096),
    wsfast.ExtensionError("name: text", 1003),
    wsfast.OpenTimeout("text"),
    wsfast.KeepaliveTimeout("text", "WS_ERR_X"),
    wsfast.SendFailed("text"),
    wsfast.WriteBufferFull(2, 1),
    wsfast.InvalidState("text"),
    wsfast.ConcurrencyError("text"),
]

all_examples = pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)


def test_the_names_are_those_that_are_documented():
    """E1, E2."""
    assert sorted(wsfast.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_imported_and_has_a_description(name):
    item = getattr(wsfast, name)
    if inspect.isclass(item) or inspect.isfunction(item):
        assert item.__doc__, name


def test_a_star_imports_all_names():
    names = {}
    exec("from wsfast import *", names)
    assert set(NAMES) <= set(names)


@pytest.mark.parametrize(
    "name",
    [module.name for module in pkgutil.walk_packages(wsfast.__path__, "wsfast.")],
)
def test_every_module_can_be_imported_and_exports_what_it_says(name):
    if name.endswith("__main__"):
        pytest.skip("it is the command")
    module = importlib.import_module(name)
    for item in getattr(module, "__all__", ()):
        assert hasattr(module, item), item


def test_importing_costs_no_more_than_it_must():
    """F18: above all not the command line, h11's tests or a TLS context."""
    code = "import sys, wsfast; print(*sorted(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(output.split())
    assert not {"wsfast.cli", "rich", "uvloop", "websockets", "argparse"} & loaded
    assert not {"urllib.request", "python_socks"} & loaded
    installed = {name.partition(".")[0] for name in loaded} & set(packages_distributions())
    # What is loaded at the start of the interpreter.
    others = installed - {"_distutils_hack", "coverage"}
    assert others <= {"wsfast", "h11", "httptools", "zlib_ng"}, "only h11 is not optional"


@pytest.mark.parametrize(
    ("row", "module", "names"),
    [
        ("E1", "wsfast", ["WebSocket"]),
        ("E2", "wsfast", ["WebSocketServer"]),
        ("E3", "wsfast", ["create_websocket_stream"]),
        ("E4", "wsfast.protocol", ["FrameReader", "encode_frame"]),
        ("E5", "wsfast.extensions", ["PerMessageDeflate"]),
        ("E6", "wsfast.extensions", ["parse_extensions", "format_extensions"]),
        ("E7", "wsfast.protocol.headers", ["parse_subprotocols"]),
        ("E9", "wsfast.event_target", ["Event", "CloseEvent", "ErrorEvent", "MessageEvent"]),
    ],
)
def test_what_ws_exports_has_a_name(row, module, names):
    """E1, E2, E3, E4, E5, E6, E7, E9: E4 is what its Receiver and its Sender.frame do."""
    imported = importlib.import_module(module)
    for name in names:
        assert callable(getattr(imported, name))
        assert name in imported.__all__


# --- Exceptions -------------------------------------------------------------------------------


def test_the_tree_of_exceptions():
    classes = {
        name: item
        for name, item in vars(exceptions).items()
        if inspect.isclass(item) and issubclass(item, wsfast.WebSocketException)
    }
    assert set(classes) == set(TREE) == set(exceptions.__all__)
    for name, parent in TREE.items():
        expected = classes[parent] if isinstance(parent, str) else parent
        assert classes[name].__bases__[0] is expected, name


def test_exceptions_are_also_what_python_calls_them():
    assert issubclass(wsfast.NetworkError, OSError)
    assert issubclass(wsfast.ConcurrencyError, RuntimeError)


def test_there_is_an_example_of_every_exception():
    assert {type(error).__name__ for error in EXAMPLES} == set(TREE)


@all_examples
def test_every_exception_has_a_code_and_a_text(error):
    assert isinstance(error.code, str)
    assert error.code.isupper()
    assert str(error)
    assert str(error) != repr(error)


@all_examples
def test_every_exception_can_be_pickled(error):
    """As between the processes of a pool, and by what collects errors."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.code == error.code
    for name in "close_code", "rcvd", "sent", "size", "max_size", "name", "value", "uri", "proxy":
        assert getattr(copy, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("code", WIRE_ERRORS)
def test_errors_on_the_wire_have_a_code_a_close_code_and_a_text(code):
    error = wire_error(code, 5)
    assert error.code == code
    assert error.close_code in (1002, 1007)
    assert str(error).startswith("Invalid WebSocket frame: ")
    assert "{" not in str(error)


@pytest.mark.parametrize(
    ("error", "close_code"),
    [
        (wsfast.PayloadTooBig(2, 1), 1009),
        (wsfast.TooManyFragments(1), 1009),
        (wsfast.ExtensionError("x"), 1010),
        (wsfast.SendFailed("x"), 1011),
        (wsfast.WriteBufferFull(2, 1), 1008),
        (wsfast.KeepaliveTimeout("x", "WS_ERR_X"), 1011),
        (wsfast.UnexpectedExtension("x"), 1010),
        (wsfast.ProtocolError("x"), 1002),
    ],
)
def test_errors_that_end_a_connection_have_a_close_code(error, close_code):
    assert error.close_code == close_code


@pytest.mark.parametrize(
    ("rcvd", "sent", "first", "text"),
    [
        (None, None, None, "no close frame received or sent"),
        (None, (1000, ""), None, "sent 1000 (OK); no close frame received"),
        ((1001, ""), None, None, "received 1001 (going away); no close frame sent"),
        ((1000, "bye"), (1000, "bye"), True, "received 1000 (OK) bye; then sent 1000 (OK) bye"),
        ((4000, ""), (1000, ""), False, "sent 1000 (OK); then received 4000 (private use)"),
        ((3000, ""), None, None, "received 3000 (registered); no close frame sent"),
        (
            (1005, ""),
            (1005, ""),
            True,
            "received 1005 (no status received [internal]); "
            "then sent 1005 (no status received [internal])",
        ),
    ],
)
def test_the_text_of_connection_closed_says_who_closed(rcvd, sent, first, text):
    frames = [None if frame is None else wsfast.Close(*frame) for frame in (rcvd, sent)]
    error = wsfast.ConnectionClosed(*frames, first)
    assert str(error) == text
    assert error.close_code == (1006 if rcvd is None else rcvd[0])
    assert error.reason == ("" if rcvd is None else rcvd[1])
