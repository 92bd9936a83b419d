#!/bin/sh
# Installs the sdist with a compiler and without one, each into a clean environment, and tests both
# from outside the checkout. Needs the environment of `make build`.
#   test_install.sh VENV
set -eu
cd "$(dirname "$0")/.."
root=$PWD python=$1/bin/python work=$PWD/build/install

rm -rf "$work"
mkdir -p "$work"
"$python" setup.py -q sdist --dist-dir "$work" >"$work/sdist.log" 2>&1 || { cat "$work/sdist.log"; exit 1; }
sdist=$(ls "$work"/*.tar.gz)
"$python" tools/check_wheels.py "$sdist"
for backend in compiled pure; do
    "$python" -m venv "$work/$backend"
    case $backend in
    compiled) export WSFAST_BUILD=require ;;
    pure) unset WSFAST_BUILD && export CC=no-compiler ;;
    esac
    "$work/$backend/bin/python" -m pip install -qq "$sdist"
    (cd "$work" && "$work/$backend/bin/python" "$root/tools/wheel_smoke.py" "$backend")
done
