#!/bin/sh
# Makes a virtual environment with wsfast in it, editable, and its extension modules built in
# place. Repeatable: does only what changed.
#   build.sh VENV PYTHON STAMP      STAMP is touched when all of it is done
# WSFAST_PURE=1 builds no extension modules and needs no compiler.
set -eu
venv=$1 wanted=$2 stamp=$3
cd "$(dirname "$0")/.."
say() { echo "wsfast: $*"; }
die() { echo "wsfast: $*" >&2; exit 1; }

if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(tools/find_python.sh "$wanted") ||
        die "no Python 3.11 or newer ($wanted): install one (Debian: apt-get install python3 python3-venv python3-dev) or set PYTHON="
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python has no venv module: install it (Debian: apt-get install python3-venv)"
    say "making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
fi
python=$venv/bin/python

if [ "${WSFAST_PURE:-}" != 1 ]; then
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$include/Python.h" ] ||
        die "no Python headers in $include: install them (Debian: apt-get install python3-dev) or set WSFAST_PURE=1"
    compiler=${CC:-$("$python" -c 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')}
    command -v "${compiler%% *}" >/dev/null 2>&1 ||
        die "no C compiler ($compiler): install one (Debian: apt-get install gcc libc6-dev) or set WSFAST_PURE=1"
fi

if [ "$venv/.installed" -ot pyproject.toml ] || [ ! -e "$venv/.installed" ]; then
    say "installing pip, setuptools and Cython into $venv"
    "$python" -m pip install -qq --upgrade 'pip>=25.1'
    "$python" -m pip install -qq --group build
    say "installing wsfast (editable) and what it needs"
    WSFAST_PURE=1 "$python" -m pip install -qq --no-build-isolation --editable .
    touch "$venv/.installed"
fi

if [ "${WSFAST_PURE:-}" != 1 ]; then
    say "compiling the extension modules"
    for module in wsfast/*.so; do # of a .pyx that is gone, it would still be imported
        [ -e "${module%%.*}.pyx" ] || rm -f "$module"
    done
    force=
    [ ! -e "$stamp" ] || [ ! setup.py -nt "$stamp" ] || force=--force
    # distutils prints every command; keep that for a failure.
    if ! WSFAST_BUILD=require "$python" setup.py build_ext --inplace $force >"$venv/build.log" 2>&1; then
        cat "$venv/build.log" >&2
        die "the extension modules did not compile (see above)"
    fi
fi
touch "$stamp"
