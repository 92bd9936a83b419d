"""Runs a command for some seconds, ends it with SIGTERM and passes on its exit status.

usage: run_for.py SECONDS COMMAND [ARGUMENT ...]
"""

import subprocess
import sys


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    process = subprocess.Popen(sys.argv[2:])
    try:
        return process.wait(float(sys.argv[1]))
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        print("run_for.py: SIGTERM did not end the command within 30 s", file=sys.stderr)
        return 1


sys.exit(main())
