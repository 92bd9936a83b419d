#!/bin/sh
# Installs the peers of `make interop` that are not Python packages: Node's ws from npm, Chromium,
# nginx and proxies from Debian. Where it may not install, it says what to install and fails.
set -eu
cd "$(dirname "$0")/.."
die() { echo "interop: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

missing=
has chromium || has chromium-browser || has google-chrome || missing="$missing chromium fonts-liberation"
# Debian puts these where only root looks.
has_sbin() { has "$1" || [ -x "/usr/sbin/$1" ]; }
has_sbin nginx || missing="$missing nginx"
has_sbin danted || missing="$missing dante-server"
has_sbin squid || missing="$missing squid-openssl" # with TLS to the proxy, which squid's has not
has microsocks || missing="$missing microsocks"
has tinyproxy || missing="$missing tinyproxy-bin"
has node || missing="$missing nodejs"
has npm || missing="$missing npm"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && has apt-get; then
        echo "interop: installing$missing (apt-get)"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # shellcheck disable=SC2086 - one argument a package
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        die "missing:$missing; install them (Debian: apt-get install$missing)"
    fi
fi

cd tests/interop
if [ ! -e node_modules/.installed ] || [ node_modules/.installed -ot package.json ]; then
    echo "interop: installing Node's ws into tests/interop/node_modules (npm)"
    if [ -e package-lock.json ]; then install=ci; else install=install; fi
    npm "$install" --loglevel=error --no-audit --no-fund
    touch node_modules/.installed
fi
