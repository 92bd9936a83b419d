#!/bin/sh
# Compiles the extension modules with the address and undefined behaviour sanitizers of gcc, beside
# the ordinary build, and runs with them the tests on both drivers and a server under load. Fails if
# a sanitizer reports anything. Repeatable: compiles only what changed.
#   sanitize.sh VENV [tests|drivers|load ...]      VENV has what the tests need, and nothing compiled
set -eu
venv=$1
shift
cd "$(dirname "$0")/.."
say() { echo "sanitize: $*"; }
die() { echo "sanitize: $*" >&2; exit 1; }
unset WSFAST_PURE

[ "$(uname -s)" = Linux ] || die "this recipe is for Linux"
build=$PWD/build/sanitize
lib=$build/lib
reports=$build/reports
[ ! setup.py -nt "$build/.built" ] || rm -rf "$build"
mkdir -p "$lib" "$reports"

say "compiling the extension modules into build/sanitize"
# What is no longer in the source must not be imported; Python files are copied again.
find "$lib" -type f ! -name '*.so' -delete
for module in "$lib"/wsfast/*.so; do
    name=${module##*/}
    [ -e "wsfast/${name%%.*}.pyx" ] || rm -f "$module"
done
WSFAST_SANITIZE=1 WSFAST_BUILD=require "$venv/bin/python" setup.py build --build-base "$build" \
    --build-lib "$lib" >"$build/build.log" 2>&1 || {
    cat "$build/build.log" >&2
    die "this needs gcc with its sanitizers (Debian: gcc; Fedora: gcc libasan libubsan) and Python's headers"
}
touch "$build/.built"

# The interpreter knows nothing of the sanitizer, which has to be loaded before anything allocates.
asan=$(ldd "$lib"/wsfast/_mask.*.so | awk '/libasan/ { print $3; exit }')
[ -n "$asan" ] || die "the sanitizer is not a shared library with this compiler: set CC=gcc"
# Where the kernel spreads addresses widely, older sanitizers find no room for their own.
fixed="setarch $(uname -m) -R"
$fixed true 2>/dev/null || fixed=

# detect_leaks: server.py looks for leaks while the interpreter is whole, since at its end it leaves
# much behind. abort_on_error and handle_abort: what the undefined behaviour sanitizer finds gets
# into a report, too, wherever the standard error of a process goes; and so do assertions.
log="log_path=$reports/report"
asan_options=$log:detect_leaks=1:leak_check_at_exit=0:detect_stack_use_after_return=1
asan_options=$asan_options:handle_abort=2:handle_segv=2:handle_sigbus=2:handle_sigfpe=2:handle_sigill=2
sanitized() {
    # shellcheck disable=SC2086 - several words, or none
    $fixed env LD_PRELOAD="$asan" ASAN_OPTIONS="$asan_options" \
        UBSAN_OPTIONS="$log:print_stacktrace=1:abort_on_error=1" \
        PYTHONMALLOC=malloc PYTHONPATH="$lib" PYTHONSAFEPATH=1 "$venv/bin/python" "$@"
}

module=$(sanitized -c 'import wsfast._engine as module; print(module.__file__)')
[ "${module%/*}" = "$lib/wsfast" ] || die "$module was imported, which has no sanitizers"

failed=
check() { # NAME ARGUMENT...
    name=$1
    shift
    say "$name"
    rm -f "$reports"/*
    # The standard error of the process is not captured: it is where some reports begin.
    sanitized -m pytest --backend=compiled --capture=sys "$@" || failed="$failed; $name"
    for report in "$reports"/*; do
        [ -e "$report" ] || continue
        cat "$report"
        failed="$failed; $name: ${report##*/}"
    done
}

for part in ${*:-tests drivers load}; do
    case $part in
    tests)
        # Without those that start the command a hundred times: nothing compiled is new in them.
        export WSFAST_DIFFERENTIAL="${WSFAST_DIFFERENTIAL:-500}"
        check "the tests" --ignore-glob='tests/test_cli*' --ignore=tests/test_readme.py
        ;;
    drivers)
        # shellcheck disable=SC2046 - one argument each
        check "the tests over sockets on the asyncio driver" --driver=asyncio \
            $(grep -l 'from peers import' tests/test_*.py tests/security/test_*.py)
        ;;
    load) check "a server under load" --exitfirst tests/sanitize ;;
    *) die "$part: not one of tests, drivers, load" ;;
    esac
done
[ -z "$failed" ] || die "failed:${failed#;}"
say "nothing was found"
