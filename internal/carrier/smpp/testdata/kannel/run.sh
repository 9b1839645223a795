#!/usr/bin/env bash
# Runs the tests against Kannel: bearerbox, its fakesmsc as the phones, and opensmppbox as the SMSC.
# Debian packages the first two. opensmppbox is in the same source and is built from that, once.
#
#   apt-get install kannel kannel-extras kannel-dev libxml2-dev libssl-dev libpcre3-dev \
#       libhiredis-dev libsqlite3-dev make gcc
#
# opensmppbox listens on all addresses and can't be told otherwise, so all of it runs in a network
# namespace of its own, which takes root.
set -euo pipefail
cd "$(dirname "$0")/../../../../.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/countersign/kannel"
box="$cache/gateway-1.4.5/addons/opensmppbox/gw/opensmppbox"

if ! [ -x /usr/sbin/bearerbox ] || ! [ -x /usr/lib/kannel/test/fakesmsc ]; then
    echo "Kannel isn't installed: see the beginning of $0" >&2
    exit 1
fi
if ! [ -x "$box" ]; then
    mkdir -p "$cache/sources" "$cache/lists/partial"
    cd "$cache"
    printf 'Types: deb-src\nURIs: http://deb.debian.org/debian\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" /usr/share/keyrings/debian-archive-keyring.gpg >sources/kannel.sources
    apt=(apt-get -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$cache/sources" -o "Dir::State::lists=$cache/lists")
    "${apt[@]}" update
    # The archive with Debian's own changes can be gone; the source itself is what is needed.
    "${apt[@]}" source --download-only kannel || [ -f kannel_1.4.5.orig.tar.gz ]
    tar xzf kannel_1.4.5.orig.tar.gz
    (cd gateway-1.4.5/addons/opensmppbox && ./configure --disable-docs && make)
    cd - >/dev/null
fi

COUNTERSIGN_TEST_KANNEL="$box" unshare --net bash -c \
    'ip link set lo up && exec go test -count=1 -v -timeout 5m -run Kannel ./internal/carrier/smpp'
