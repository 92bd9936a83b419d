#!/usr/bin/env bash
# Builds into dist/, without containers: the sdist, the pure wheel, and a manylinux_2_17 wheel for
# every CPython from 3.11 on that is found. Then checks each and tests it in a clean environment
# with no compiler on the path, from outside the checkout.
#   build_wheels.sh            PYTHONS="3.11 3.13" picks the versions
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
say() { echo "wheels: $*"; }
die() { echo "wheels: $*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "this recipe is for Linux; elsewhere use cibuildwheel"
host=$(tools/find_python.sh "${PYTHON:-python3}") || die "no Python 3.11 or newer"
declare -A pythons
for version in ${PYTHONS:-3.11 3.12 3.13 3.14 3.15}; do
    if python=$(tools/find_python.sh "$version"); then
        pythons[$version]=$python
    elif [ -n "${PYTHONS:-}" ]; then
        die "no Python $version"
    fi
done
say "for Python $(printf '%s\n' "${!pythons[@]}" | sort -V | xargs)"

work=$root/build/wheels
rm -rf "$work" dist
mkdir -p "$work/raw" dist
tools=$root/.venv-wheels/bin
if [ ! -e .venv-wheels/.installed ] || [ .venv-wheels/.installed -ot pyproject.toml ]; then
    say "installing build, zig and auditwheel into .venv-wheels"
    "$host" -m venv --clear .venv-wheels
    "$tools/python" -m pip install -qq --upgrade 'pip>=25.1'
    "$tools/python" -m pip install -qq --group wheels
    touch .venv-wheels/.installed
fi
ZIG=$("$tools/python" -c 'import os, ziglang; print(os.path.join(ziglang.__path__[0], "zig"))')
export ZIG ZIG_GLOBAL_CACHE_DIR=$root/build/zig ZIG_LOCAL_CACHE_DIR=$root/build/zig
export PATH=$tools:$PATH

say "building the sdist, and from it the pure wheel"
"$tools/python" -m build --sdist --outdir dist >"$work/sdist.log" 2>&1 || { cat "$work/sdist.log"; exit 1; }
sdist=$(ls dist/*.tar.gz)
WSFAST_PURE=1 "$tools/python" -m pip wheel -qq --no-deps --wheel-dir dist "$sdist"

for version in $(printf '%s\n' "${!pythons[@]}" | sort -V); do
    say "compiling for $version with zig"
    "${pythons[$version]}" -m venv "$work/build-$version"
    rm -f "$work"/raw/*.whl
    # -s: debug information would be most of the wheel.
    CC=$root/tools/zig_cc.sh LDSHARED="$root/tools/zig_cc.sh -shared -s" WSFAST_BUILD=require \
        "$work/build-$version/bin/python" -m pip wheel -qq --no-deps --wheel-dir "$work/raw" "$sdist"
    "$tools/auditwheel" repair --plat "manylinux_2_17_$(uname -m)" --wheel-dir dist "$work"/raw/*.whl \
        >"$work/repair.log" 2>&1 || { cat "$work/repair.log"; exit 1; }
done
"$tools/python" tools/check_wheels.py dist/*

smoke() { # VERSION WHEEL BACKEND
    local venv=$work/test-$1-$3
    "${pythons[$1]}" -m venv "$venv"
    # Nothing but the environment on the path, so no compiler.
    (cd "$work" && PATH=$venv/bin CC=no-compiler "$venv/bin/python" -m pip install -qq "$root/$2")
    (cd "$work" && PATH=$venv/bin "$venv/bin/python" "$root/tools/wheel_smoke.py" "$3")
}
say "testing each wheel in a clean environment"
for version in $(printf '%s\n' "${!pythons[@]}" | sort -V); do
    smoke "$version" "$(ls dist/*-"cp${version/./}"-*.whl)" compiled
    smoke "$version" "$(ls dist/*-none-any.whl)" pure
done
say "done: $(ls dist | wc -l) files in dist/"
