import pytest

from wsfast.protocol import http


@pytest.fixture(params=["h11", "httptools"])
def http_parser(request, monkeypatch):
    """Runs the test with each of the libraries that read header lines."""
    if request.param not in http.PARSERS:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(http, "HTTP_PARSER", request.param)
    return request.param
