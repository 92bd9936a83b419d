"""Runs ``async def`` tests, chooses the backend, and refuses tests that leave something behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys

import pytest


def pytest_addoption(parser):
    parser.addoption("--backend", choices=["compiled", "pure"], default=None)
    parser.addoption("--driver", choices=["epoll", "asyncio"], default=None)
    parser.addoption("--loop", choices=["asyncio", "uvloop"], default="asyncio")


def pytest_configure(config):
    # The servers of the tests are on this machine, whatever proxy leads out of it.
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    backend = config.getoption("--backend")
    if backend is not None:
        # Before the first import of wsfast, so that end-to-end tests run on the chosen backend.
        assert "wsfast" not in sys.modules
        os.environ["WSFAST_PURE"] = "1" if backend == "pure" else ""
        import wsfast

        if backend != wsfast.BACKEND:
            pytest.exit(f"the {backend} backend is not available; run `make build`", returncode=4)
    if config.getoption("--driver") is not None:
        import wsfast.engine

        wsfast.engine.default = config.getoption("--driver")
    if config.getoption("--loop") == "uvloop":
        import uvloop

        # The first loop of a process opens a pipe for signals that stays open.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.sleep(0))


def run_async(function, arguments, config):
    """Run a coroutine function in a new loop and look for what it leaves behind."""
    unhandled = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: unhandled.append(context))
        await function(**arguments)
        # Give what was just closed the two passes that transports need to go away.
        for _ in range(3):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"the test left tasks: {left}"

    factory = None
    if config.getoption("--loop") == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory, debug=False) as runner:
        runner.run(main())
    assert not unhandled, f"the loop's exception handler was called: {unhandled}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    run_async(function, arguments, pyfuncitem.config)
    return True


@pytest.fixture(autouse=True)
def nothing_is_left_open():
    """No test may leave a file descriptor open."""
    if not os.path.isdir("/proc/self/fd"):
        yield
        return
    before = open_files()
    yield
    left = {fd: name for fd, name in open_files().items() if fd not in before}
    if left:
        gc.collect()  # which takes long; what only a cycle keeps open is not left open
        left = {fd: name for fd, name in open_files().items() if fd not in before}
    assert not left, f"the test left open: {left}"


def open_files():
    files = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            files[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the directory itself
    return files


@pytest.fixture
def epoll():
    """Only on the epoll driver."""
    from wsfast import engine

    if not engine.choose(None):
        pytest.skip("what is tested is of the epoll driver")


@pytest.fixture(scope="session")
def authority():
    """Issues the certificates of the tests."""
    import trustme

    return trustme.CA()


@pytest.fixture(scope="session")
def ca(authority):
    return authority.cert_pem.bytes()


@pytest.fixture(scope="session")
def identity(authority):
    """The certificate and the key of a server on this machine."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    return {
        "cert": b"".join(blob.bytes() for blob in issued.cert_chain_pems),
        "key": issued.private_key_pem.bytes(),
    }


@pytest.fixture(scope="session")
def client_identity(authority):
    issued = authority.issue_cert("client@example.com")
    return {
        "cert": issued.cert_chain_pems[0].bytes(),
        "key": issued.private_key_pem.bytes(),
    }


@pytest.fixture
def files(tmp_path, identity, ca):
    """The same, as files; and all in one."""
    paths = {}
    for name, data in [*identity.items(), ("ca", ca), ("all", b"".join(identity.values()))]:
        paths[name] = tmp_path / f"{name}.pem"
        paths[name].write_bytes(data)
    return paths
