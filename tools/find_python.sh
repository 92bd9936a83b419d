#!/bin/sh
# Prints the path of a Python interpreter that runs, or fails with nothing printed.
#   find_python.sh X.Y        exactly that version, from PATH or from pyenv
#   find_python.sh COMMAND    that one, if it is 3.11 or newer
#   find_python.sh [python3]  python3, or else any other that is 3.11 or newer
set -u

check() { # COMMAND CONDITION
    "$1" -c "import sys; sys.exit(not ($2))" >/dev/null 2>&1 || return 1
    "$1" -c 'import sys; print(sys.executable)'
    exit 0
}

pyenv_versions="$(pyenv root 2>/dev/null)/versions"
case "${1:-python3}" in
[0-9]*.[0-9]*)
    # A pyenv shim is on PATH whether or not it has an interpreter to start, so ask each.
    for python in "python$1" python3 python "$pyenv_versions/$1".*/bin/python; do
        check "$python" "sys.version_info[:2] == (${1%%.*}, ${1#*.})"
    done
    ;;
python3)
    for python in python3 python3.15 python3.14 python3.13 python3.12 python3.11 \
        "$pyenv_versions"/3.1[1-9].*/bin/python; do
        check "$python" "sys.version_info >= (3, 11)"
    done
    ;;
*) check "$1" "sys.version_info >= (3, 11)" ;;
esac
exit 1
