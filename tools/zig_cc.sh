#!/bin/sh
# zig as a C compiler that links against the glibc of manylinux_2_17, whatever this machine has.
# Drops the flags of distributions' and pyenv's Pythons that zig's linker does not know.
# ZIG is the path of the zig program (build_wheels.sh sets it).
for argument; do
    shift
    case $argument in
    -Wl,--exclude-libs* | -Wl,-Bsymbolic* | -flto* | -ffat-lto-objects | -fuse-linker-plugin) ;;
    *) set -- "$@" "$argument" ;;
    esac
done
# Debian's pyconfig.h includes another one that is below /usr/include; zig's own headers come first.
# zig turns the undefined behaviour sanitizer on unless told not to.
exec "$ZIG" cc -target "$(uname -m)-linux-gnu.2.17" -idirafter /usr/include \
    -fno-sanitize=undefined "$@"
