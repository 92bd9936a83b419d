"""The backends side by side on random streams and calls: the same events, errors, messages, bytes.

WSFAST_DIFFERENTIAL in the environment is the number of streams. A stream that fails is named by its
seed; ``compare(LEVEL, SEED)`` repeats it.
"""

import itertools
import os
import random
import time

import pytest
from deflating import let_compress, make_parameters
from differential import LEVELS, make_script, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import CompressingStreamMaker, StreamMaker
from twins import BOTH, COMPILED, PURE, make_protocol, read

from wsfast.options import Options

pytestmark = pytest.mark.skipif(len(BOTH) < 2, reason="needs both backends")

STREAMS = int(os.environ.get("WSFAST_DIFFERENTIAL") or 2000)
LONG = STREAMS > 10_000


def difference(level, script):
    """Where the backends differ for a script, in words; None if they do not."""
    compiled, pure = run(level, COMPILED, script), run(level, PURE, script)
    if compiled == pure:
        return None
    pairs = zip(compiled, pure, strict=False)
    number = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    steps = "\n".join(f"    {step}" for step in script["steps"])
    return (
        f"{level} differs at entry {number} of {len(compiled)} and {len(pure)}\n"
        f"  compiled: {compiled[number : number + 3]}\n"
        f"  pure:     {pure[number : number + 3]}\n"
        f"  before:   {pure[max(number - 3, 0) : number]}\n"
        f"  {'client' if script['client'] else 'server'}, {script['options']}, "
        f"{ {key: script[key] for key in script if key not in ('client', 'options', 'steps')} }\n"
        f"  steps:\n{steps}"
    )


def compare(level, seed):
    """Compare the backends on the script of a seed."""
    found = difference(level, make_script(level, random.Random(f"{level} {seed}")))
    assert found is None, f"seed {seed}: {found}"


@pytest.mark.timeout(0 if LONG else 120)
def test_the_backends_agree_on_random_streams(capsys):
    started = told = time.monotonic()
    for seed in range(STREAMS):
        for level in LEVELS:
            compare(level, seed)
        if LONG and time.monotonic() - told > 10:
            told = time.monotonic()
            with capsys.disabled():
                done = seed + 1
                left = (told - started) / done * (STREAMS - done)
                print(f"\n{done} of {STREAMS} streams, {left:.0f} s to go", end="", flush=True)


@pytest.mark.parametrize("level", LEVELS)
def test_the_backends_agree_on_what_hypothesis_makes(level):
    @settings(
        max_examples=2000 if LONG else 60,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def check(rng):
        found = difference(level, make_script(level, rng))
        assert found is None, found

    check()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("backend", BOTH, ids=str)
def test_valid_streams_give_what_was_put_in(backend, compressed):
    for seed in range(min(STREAMS, 20_000) // 5):
        rng = random.Random(seed)
        client = rng.random() < 0.5
        takeover = rng.random() < 0.5
        if compressed:
            maker = CompressingStreamMaker(rng, client=client, takeover=takeover)
        else:
            maker = StreamMaker(rng, client=client)
        frames, messages = maker.valid()
        stream = b"".join(frames)
        items = []
        reader = backend.parser.FrameReader(client=client)
        protocol = make_protocol(backend, client=client)
        if compressed:
            reader.allow(4, backend.deflate.Deflate(make_parameters(peer_takeover=takeover)))
            let_compress(backend, protocol, peer_takeover=takeover)
        for chunk in maker.chunks(stream):
            items += read(reader, chunk)
        assert [item[:2] for item in items if item[0] <= 2] == messages, seed
        assert reader.frames_read == len(frames)
        for chunk in maker.chunks(stream):
            protocol.receive(chunk)
        told = [event[:2] for event in protocol.events if isinstance(event[0], int)]
        assert told == messages, seed
        assert protocol.error is None
        assert protocol.options == Options()
