import pytest

# wsfast is imported where it is used: this file is read before `--backend` has picked one.


@pytest.fixture(params=["h11", "httptools"])
def http_parser(request, monkeypatch):
    """Runs the test with each of the libraries that read header lines."""
    from wsfast.protocol import http

    if request.param not in http.PARSERS:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(http, "HTTP_PARSER", request.param)
    return request.param


def cut(data, how):
    """Cuts bytes into what arrives at once."""
    size = {"whole": max(len(data), 1), "byte by byte": 1, "in threes": 3}[how]
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture(params=["whole", "byte by byte", "in threes"])
def feed(request):
    """Feeds bytes to a reader until it has a result."""

    def feed(reader, data):
        pieces = cut(data, request.param)
        for number, piece in enumerate(pieces):
            result = reader.feed(piece)
            if result is not None:
                return result[0], result[1] + b"".join(pieces[number + 1 :])
        return None

    return feed
