"""docs/api.md: held against the code, in both directions; and the links of docs/faq.md."""

import enum
import importlib
import inspect
import logging
import re
import types
from pathlib import Path

import pytest

import wsfast
import wsfast.protocol
from wsfast import codec, exceptions, extensions
from wsfast._pure.frame import encode_frame
from wsfast._pure.parser import FrameReader
from wsfast.events import EventSource
from wsfast.extensions.deflate_options import DeflateOptions

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text()
FAQ = (ROOT / "docs" / "faq.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
SOURCES = "".join(path.read_text() for path in (ROOT / "wsfast").rglob("*.py"))

# What is said of each function, class and module in the second half of the page.
DETAILS = dict(
    re.findall(r"^### `(wsfast[\w.]*)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
)


def find(path):
    """What stands at a path of names."""
    above, _, name = path.rpartition(".")
    found = getattr(find(above), name, None) if above else None
    return importlib.import_module(path) if found is None else found


NAMES = {find(path): path for path in DETAILS}
DOCUMENTED = list(NAMES)

# What they have is not said again of what inherits from them.
ELSEWHERE = {EventSource, wsfast.WebSocket, *DOCUMENTED}

# What the parts of a connection call of each other; it may change.
INTERNAL = {
    *("COROUTINE_EVENTS", "EVENTS", "listener_failed"),
    # The protocol's.
    *("answer_ping", "closed_error", "fail", "finish_close", "fragments", "message", "negotiated"),
    *("on_closed", "on_closing", "on_control", "on_message", "on_processed", "open", "receive"),
    *("receive_eof", "send_deflated", "send_processed", "sends_waiting", "settle", "use_deflate"),
    *("use_stack", "write", "write_eof", "deflate"),
    # The connection's, for its driver and its parts.
    *("abort", "broadcasts", "deadline", "deliver_soon", "driver", "eof", "heard", "is_ending"),
    *("is_sending_fragments", "lost", "message_listener", "next_ping", "on_deadline", "outbox"),
    *("receive_soon", "received", "recv_fragment", "send_by_and_by", "send_closed", "send_failed"),
    *("send_large", "send_other", "send_prepared", "send_rest", "tells_pings", "tick"),
    *("use_driver", "writable"),
    # The WebSocket's, for who opens and ends it.
    *("begin", "close_now", "connect_again", "give_up", "give_up_pings", "is_over"),
    *("not_open_error", "opened", "receive_pong", "reconnects", "start_clock", "tell_closed"),
    "tell_open",
    # The reader's, where it is not compiled.
    *("give_up", "keep_counters", "note_size"),
    # The server's, for its handshakes.
    *("accept_connection", "accept_response", "handshake_ended", "handshake_started"),
    "unavailable",
}
# What has them.
PARTS = (wsfast.protocol.EventProtocol, wsfast.protocol.FrameReader, EventSource)
INTERNAL_FUNCTIONS = {codec.check_codec, codec.decoding_class, codec.use_codec}
# In `stats`.
COUNTERS = set(wsfast.Statistics._fields) - {"messages_dropped"}


def rows(heading):
    """The cells of the table below a heading."""
    cells = cells_of(SECTIONS[heading])
    assert cells
    return cells


def cells_of(text):
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def named(heading):
    """The names in the first column, without their arguments."""
    names = [re.match(r"`(\w[\w.-]*)", cells[0])[1] for cells in rows(heading)]
    assert len(names) == len(set(names))
    return set(names)


def written(default):
    """A default as the page has it, and as a signature has it."""
    if default is inspect.Parameter.empty:
        return "required"
    if repr(default) == "<factory>":
        return "new"
    if isinstance(default, logging.Logger):
        return f"the logger `{default.name}`"
    return f"`{getattr(default, '__name__', repr(default))}`"


# Compiled, they have no signature, or another form of it: their twins have.
TWINS = {wsfast.protocol.FrameReader: FrameReader, wsfast.protocol.encode_frame: encode_frame}


def parameters(of):
    """What a function, or a class when it is called, takes."""
    return [
        parameter
        for parameter in inspect.signature(TWINS.get(of, of)).parameters.values()
        if parameter.name != "self"
    ]


def defaults(of):
    """The defaults of its parameters, as the page has them, by name."""
    if of is extensions.PerMessageDeflate:
        return dict.fromkeys(DeflateOptions.__annotations__, "`None`")
    if isinstance(of, enum.EnumMeta) or getattr(of, "_is_protocol", False):
        return {}
    found = {}
    for parameter in parameters(of):
        name = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
        found[name] = "" if name.startswith("*") else written(parameter.default)
    return found


def label(name, of):
    """A name as the tables have it: that of a function with what it takes."""
    if isinstance(of, enum.Enum):
        return f"{name} = {of.value}"
    if not callable(of) or isinstance(of, type):
        return name
    bare = [parameter.replace(annotation=parameter.empty) for parameter in parameters(of)]
    return name + str(inspect.Signature(bare)).replace("'", '"')


def public(of):
    return {name for name in dir(of) if not name.startswith("_")}


def members(of):
    """The members of a class or a module by name, without those that its bases are said to have."""
    if isinstance(of, types.ModuleType):
        functions = {name: getattr(of, name) for name in of.__all__}
        return {name: f for name, f in functions.items() if inspect.isfunction(f)}
    if isinstance(of, enum.EnumMeta):
        return dict(of.__members__)
    names = public(of)
    hidden = INTERNAL | COUNTERS if issubclass(of, PARTS) else set()
    if of is wsfast.protocol.EventProtocol:
        hidden -= {"receive_eof"}
        names |= {name for name in vars(wsfast.protocol.ServerProtocol()) if name[0] != "_"}
    for base in of.__mro__[1:]:
        if base in ELSEWHERE or base.__module__ in ("builtins", "collections.abc", "typing"):
            names -= public(base)
    return {
        name: getattr(TWINS.get(of, of), name, None)
        for name in names | {name for name in vars(of) if not name.startswith("_")}
        if name not in hidden
    }


@pytest.mark.parametrize(
    ("heading", "function"),
    [
        ("connect", wsfast.connect.__init__),
        ("WebSocketServer", wsfast.WebSocketServer.__init__),
        ("Options", wsfast.Options.__init__),
        ("WebSocket", wsfast.WebSocket.__init__),
    ],
)
def test_every_option_has_its_default_its_unit_and_a_description(heading, function):
    options = {
        name: written(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert {cells[0].strip("`"): cells[1] for cells in rows(heading)} == options
    for name, _, unit, description in rows(heading):
        assert description
        if name.strip("`").endswith(("_timeout", "_interval", "_uptime", "_elapsed")):
            assert unit == "seconds"


@pytest.mark.parametrize(
    ("heading", "events"),
    [
        ("Events of a WebSocket", wsfast.WebSocket.EVENTS),
        ("Events of a WebSocketServer", wsfast.WebSocketServer.EVENTS),
    ],
)
def test_every_event_is_there(heading, events):
    assert named(heading) == events


async def attributes(of):
    """The public attributes of a class, and of an object of it."""
    server = wsfast.WebSocketServer(no_server=True)
    if of is wsfast.WebSocketServer:
        public = set(server.__dict__)
    else:
        ws = wsfast.WebSocket("ws://127.0.0.1:1")
        ws.on("error", lambda error: None)
        public = set(ws.__dict__)
        await ws.close()
    return {name for name in public | set(dir(of)) if not name.startswith("_")}


@pytest.mark.parametrize("of", [wsfast.WebSocket, wsfast.WebSocketServer])
async def test_every_attribute_and_method_is_there_or_internal(of):
    documented = named(f"Attributes and methods of a {of.__name__}")
    assert not documented & INTERNAL
    known = await attributes(of)
    assert documented <= known
    options = set(inspect.signature(of.__init__).parameters)
    counters = COUNTERS if of is wsfast.WebSocket else set()
    # A server keeps what it was given, with what is made of it.
    kept = options | {"ssl", "release", "tally"} if of is wsfast.WebSocketServer else set()
    assert known - documented - INTERNAL - counters - kept == set()


@pytest.mark.parametrize("of", [wsfast.WebSocket, wsfast.WebSocketServer])
def test_every_method_has_its_signature(of):
    for name, *_ in rows(f"Attributes and methods of a {of.__name__}"):
        shown = name.strip("`")
        bare = re.match(r"\w+", shown)[0]
        assert shown == label(bare, getattr(of, bare, None))


@pytest.mark.parametrize("of", DOCUMENTED, ids=lambda of: of.__name__)
def test_every_parameter_and_member_is_there(of):
    """Those that are parameters are not said twice."""
    table = cells_of(DETAILS[NAMES[of]])
    taken = {cells[0].strip("`"): cells for cells in table if len(cells) == 4}
    if not isinstance(of, types.ModuleType):
        assert {name: cells[1] for name, cells in taken.items()} == defaults(of)
    for name, (_, _, unit, description) in taken.items():
        assert description
        if name.endswith(("_timeout", "_interval", "window", "interval", "longest", "seconds")):
            assert unit == "seconds"
    if isinstance(of, types.FunctionType) or of is wsfast.protocol.encode_frame:
        return
    shown = [cells[0].strip("`") for cells in table if len(cells) == 2]
    assert len(shown) == len(set(shown))
    assert set(shown) == {
        label(*member) for member in members(of).items() if member[0] not in taken
    }


def test_everything_that_is_public_has_its_details():
    above = {wsfast.connect, wsfast.WebSocket, wsfast.WebSocketServer, wsfast.Options}
    names = ["", ".codec", ".event_target", ".extensions", ".monitoring", ".protocol"]
    for module in [importlib.import_module(f"wsfast{name}") for name in names]:
        for name in module.__all__:
            of = getattr(module, name)
            if isinstance(of, type):
                is_told = issubclass(of, BaseException) or of.__module__ == "builtins"
            else:
                is_told = not inspect.isroutine(of)
            assert is_told or of in above | INTERNAL_FUNCTIONS | set(DOCUMENTED), name


def test_every_name_is_there():
    documented = set().union(
        named("Functions"), named("Further classes"), named("Names and types"), named("Exceptions")
    )
    own = {"connect", "WebSocket", "WebSocketServer", "Options"}
    assert documented | own == set(wsfast.__all__)


@pytest.mark.parametrize("name", sorted(named("Modules")))
def test_every_module_is_there(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("cells", rows("Exceptions"), ids=lambda cells: cells[0].strip("`"))
def test_every_exception_has_its_base_and_its_code(cells):
    name, base, code, description = (cell.strip("`") for cell in cells)
    exception = getattr(exceptions, name)
    assert exception.__mro__[1].__name__ == base
    assert description
    own = getattr(exception, "code", None)
    assert code == (own if isinstance(own, str) and own != "WS_ERR" else "")


def test_every_exception_is_there():
    assert named("Exceptions") == set(exceptions.__all__)


def test_every_code_is_there():
    documented = named("Codes") | {cells[2].strip("`") for cells in rows("Exceptions")}
    used = set(re.findall(r'"(WS_ERR_\w+)"', SOURCES))
    assert documented - {""} == used


def test_every_protocol_error_has_its_close_code():
    close_codes = {cells[0].strip("`"): cells[1] for cells in rows("Codes")}
    for code, (close_code, _) in exceptions.WIRE_ERRORS.items():
        assert close_codes[code] == str(close_code)


def test_every_variable_of_the_environment_is_there():
    assert set(re.findall(r"WSFAST_\w+", SOURCES)) == {"WSFAST_PURE"}
    for name in named("Environment"):
        # The names of proxies are put together.
        assert name in SOURCES or name.removesuffix("_proxy") in SOURCES


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


def test_every_example_of_the_questions_is_run():
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    examples = set(re.findall(r"\(\.\./examples/([\w.]+)\)", FAQ))
    assert examples
    for name in examples:
        assert name in tests, name
