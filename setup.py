"""Builds the Cython modules. Everything else about the package is in pyproject.toml.

WSFAST_PURE=1          builds none of them
WSFAST_BUILD=require   makes a failed build an error; otherwise the install is pure Python
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

REQUIRED = os.environ.get("WSFAST_BUILD") == "require"
PURE = os.environ.get("WSFAST_PURE") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": False,
}


class optional_build_ext(build_ext):
    def run(self):
        try:
            super().run()
        except Exception as error:  # no Cython, no compiler, no headers, a compile error
            if REQUIRED:
                raise
            # All or nothing: the backend is one choice for the whole package.
            for output in self.get_outputs():
                Path(output).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"wsfast: installing the pure Python backend ({reason:.200})", file=sys.stderr)

    def build_extension(self, extension):
        from Cython.Build import cythonize

        if self.compiler.compiler_type == "msvc":
            extension.extra_compile_args = ["/O2"]
        else:
            # The last two are Python's own, which a CFLAGS in the environment would replace.
            flags = ["-O3", "-fvisibility=hidden", "-fwrapv", "-DNDEBUG"]
            extension.extra_compile_args = flags
        [generated] = cythonize(
            [extension],
            build_dir="build/cython",  # generated C stays out of the source tree
            compiler_directives=DIRECTIVES,
            force=self.force,
            quiet=True,
        )
        extension.sources = generated.sources
        extension.depends = generated.depends
        super().build_extension(extension)


modules = [] if PURE else sorted(Path("wsfast").glob("*.pyx"))
setup(
    ext_modules=[Extension(f"wsfast.{path.stem}", [path.as_posix()]) for path in modules],
    cmdclass={"build_ext": optional_build_ext},
)
