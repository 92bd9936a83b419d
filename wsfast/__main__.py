"""``python -m wsfast`` is the command ``wsfast``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
