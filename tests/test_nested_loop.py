"""A loop that is run again from inside one of its calls, as people do with `nest_asyncio`.

In a process of its own, because `nest_asyncio` changes asyncio.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("nested.py")


@pytest.mark.parametrize("idle", [0, 20], ids=["few connections", "many connections"])
@pytest.mark.parametrize("style", ["listeners", "coroutines"])
def test_the_rest_of_a_read_is_not_touched_by_what_is_read_meanwhile(style, idle):
    ran = subprocess.run(
        [sys.executable, SCRIPT, style, str(idle)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("all messages came, in order\n", "")
