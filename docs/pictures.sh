#!/bin/sh
# Makes docs/phones.png anew: the page of the development server in headless Chromium.
#
#   docs/pictures.sh        in the root of the repository; needs chromium and curl
set -eu
dir=$(mktemp -d)
trap 'kill $server 2>/dev/null; rm -rf "$dir"' EXIT
go build -o "$dir/countersign" ./cmd/countersign
"$dir/countersign" dev --addr 127.0.0.1:0 >"$dir/out" 2>/dev/null &
server=$!
until url=$(sed -n 's/^  Simulator  *//p' "$dir/out") && [ -n "$url" ]; do sleep 0.1; done
start() { curl -s -o /dev/null -w '%header{location}' -d "to=%2B$1&channel=$2" "$url/start"; }
start 15550100001 sms >/dev/null
start 12025550102 voice >/dev/null
page=$(start 12025550100 sms)
sleep 2
chromium --headless --no-sandbox --disable-gpu --disable-background-networking --hide-scrollbars --user-data-dir="$dir/profile" \
	--window-size=1100,620 --screenshot=docs/phones.png "${url%/simulator}$page" >/dev/null 2>&1
ls -l docs/phones.png
