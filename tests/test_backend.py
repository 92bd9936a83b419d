"""Which of the two backends is in use, and what decides that."""

import importlib.util
import subprocess
import sys

import pytest

MODULES = ("_broadcast", "_core", "_deflate", "_frame", "_mask", "_parser", "_protocol")

# Tells the backend, and which of the compiled modules were loaded.
TELL = """
import sys, wsfast
loaded = [name for name in {modules} if sys.modules.get("wsfast." + name) is not None]
print(wsfast.BACKEND, *loaded)
"""


def told(setting, before=""):
    """What a new process tells with ``WSFAST_PURE`` set like that; it may not complain."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + TELL.format(modules=MODULES)],
        env={"PYTHONPATH": ":".join(sys.path), **({"WSFAST_PURE": setting} if setting else {})},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    backend, *loaded = result.stdout.split()
    return backend, loaded


@pytest.fixture
def compiled():
    """Only where the compiled modules were built."""
    if importlib.util.find_spec("wsfast._core") is None:
        pytest.skip("there are no compiled modules")


@pytest.mark.parametrize("setting", ["1", "mask", "utf8"])
def test_nothing_compiled_is_loaded_when_it_is_turned_off(setting):
    """ENV1, ENV2, ENV4: a part means the whole."""
    assert told(setting) == ("pure", [])


@pytest.mark.parametrize("setting", ["", "0"])
def test_the_compiled_modules_are_used_otherwise(compiled, setting):
    """ENV3: `BACKEND` tells which is in use."""
    assert told(setting) == ("compiled", list(MODULES))


@pytest.mark.parametrize("module", MODULES)
def test_a_compiled_module_that_does_not_load_is_done_without(module):
    """ENV3: in silence, and then without all of them."""
    before = f"import sys; sys.modules['wsfast.{module}'] = None"
    assert told("", before)[0] == "pure"
