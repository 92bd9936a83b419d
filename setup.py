"""Builds the Cython modules. Everything else about the package is in pyproject.toml.

WSFAST_PURE=1          builds none of them
WSFAST_BUILD=require   makes a failed build an error; otherwise the install is pure Python
WSFAST_SANITIZE=1      builds them with the sanitizers of the C compiler (make sanitize)
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

REQUIRED = os.environ.get("WSFAST_BUILD") == "require"
PURE = os.environ.get("WSFAST_PURE") == "1"
SANITIZE = os.environ.get("WSFAST_SANITIZE") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": False,
}

if SANITIZE:
    # None is the interpreter's, and no sanitizer watches it.
    DIRECTIVES["nonecheck"] = True

# The last two undo what would hide findings: signed overflow would be defined, and Python's own
# assertions about the arguments of its macros left out.
SANITIZER_FLAGS = [
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-wrapv",
    "-UNDEBUG",
]


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
            if SANITIZE:
                extension.extra_compile_args = [*flags, *SANITIZER_FLAGS]
                extension.extra_link_args = ["-fsanitize=address,undefined"]
        [generated] = cythonize(
            [extension],
            # Generated C stays out of the source tree.
            build_dir="build/sanitize/cython" if SANITIZE else "build/cython",
            compiler_directives=DIRECTIVES,
            emit_linenums=SANITIZE,  # reports name the lines of the .pyx
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
