"""docs/faq.md: its code runs block after block, and prints what stands behind the prints."""

import ast
import re
import socket
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "faq.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


async def test_the_code_of_the_questions_runs_and_prints_what_it_says(capsys):
    """SV10, EV1, ET1: what is marked with "never" is not printed."""
    names = {"__name__": "docs"}
    assert BLOCKS
    for block in BLOCKS:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        code = block.replace("8765", port)
        await eval(compile(code, PAGE.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*\)  # (.*)", block)
