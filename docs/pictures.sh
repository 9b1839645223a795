#!/bin/sh
# Makes docs/phones.png and docs/console.png anew: pages of the development server in headless Chromium.
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
picture() { # file, width,height, URL
	chromium --headless --no-sandbox --disable-gpu --disable-background-networking --hide-scrollbars --user-data-dir="$dir/profile" \
		--window-size="$2" --screenshot="docs/$1" "$3" >/dev/null 2>&1
}
picture phones.png 1100,620 "${url%/simulator}$page"
console=$(sed -n 's/^  Console  *//p' "$dir/out")
id=${page##*v=}
curl -s -o /dev/null -d "id=$id&code=000000" "$url/check"
picture console.png 1100,470 "$console/verification/$id"
ls -l docs/phones.png docs/console.png
