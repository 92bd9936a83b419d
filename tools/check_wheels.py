"""Checks what is in wheels and sdists: sizes, types, and no sources or generated C in a wheel.

usage: check_wheels.py FILE ...
"""

import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL_LIMIT = 500_000


def wheel_faults(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    compiled = [name for name in names if name.endswith((".so", ".pyd"))]
    faults = []
    for name in names:
        if name.endswith((".pyx", ".pxd", ".c")):
            faults.append(f"{name} does not belong in a wheel")
        if not name.startswith(("wsfast/", "wsfast-")):
            faults.append(f"{name} is not of this package")
    if path.stat().st_size >= WHEEL_LIMIT:
        faults.append(f"{path.stat().st_size} bytes, the limit is {WHEEL_LIMIT}")
    if "wsfast/py.typed" not in names:
        faults.append("no py.typed")
    if path.name.endswith("-none-any.whl") == bool(compiled):
        faults.append(f"{len(compiled)} extension modules do not match the tag")
    stubs = {name.removesuffix(".pyi") for name in names if name.endswith(".pyi")}
    faults += [f"{name} has no .pyi" for name in compiled if name.split(".")[0] not in stubs]
    return faults


def sdist_faults(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        names = ["/".join(name.split("/")[1:]) for name in archive.getnames()]
    faults = [
        f"{name} is a build product"
        for name in names
        if name.endswith(".so") or (name.endswith(".c") and name.startswith("wsfast/"))
    ]
    if not any(name.endswith(".pyx") for name in names):
        faults.append("no .pyx")
    wanted = ["LICENSE", "README.md", "pyproject.toml", "setup.py", "wsfast/py.typed"]
    faults += [f"no {name}" for name in wanted if name not in names]
    return faults


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 2
    failed = False
    for path in map(Path, sys.argv[1:]):
        faults = wheel_faults(path) if path.suffix == ".whl" else sdist_faults(path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {'; '.join(faults) or 'ok'}")
        failed = failed or bool(faults)
    return int(failed)


sys.exit(main())
