#!/bin/bash
# Tries a container image without a container engine: unpacks what is for this machine, and runs it as the image's user
# with nothing else around it. It needs root, python3 and curl.
#
#   deploy/release/try-image.sh dist/countersign-*.oci.tar
set -euo pipefail

image=$(realpath "$1")
[ "$(id -u)" = 0 ] || { echo "NOT RUN: $0: it needs root"; exit 0; }
top=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; rm -rf "$top"' EXIT
mkdir "$top/root"
python3 - "$image" "$top" <<'END'
import io, json, platform, sys, tarfile
image, top = tarfile.open(sys.argv[1]), sys.argv[2]
def blob(digest): return image.extractfile('blobs/' + digest.replace(':', '/')).read()
def load(digest): return json.loads(blob(digest))
index = load(json.load(image.extractfile('index.json'))['manifests'][0]['digest'])
arch = {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()]
manifest = load(next(m['digest'] for m in index['manifests'] if m['platform'] == {'architecture': arch, 'os': 'linux'}))
config = load(manifest['config']['digest'])
for layer in manifest['layers']:
    tarfile.open(fileobj=io.BytesIO(blob(layer['digest']))).extractall(top + '/root', numeric_owner=True)
c = config['config']
assert c['User'] == '65532:65532' and c['Entrypoint'] == ['/usr/bin/countersign'] and c['StopSignal'] == 'SIGTERM', c
print(' '.join(c['Entrypoint'] + c['Cmd']), file=open(top + '/command', 'w'))
print(c['Labels']['org.opencontainers.image.version'], file=open(top + '/version', 'w'))
END

failed=0
demand() { if "${@:2}" >/dev/null 2>&1; then echo "ok    $1"; else echo "FAIL  $1"; failed=1; fi; }
inside() { env -i PATH=/usr/bin COUNTERSIGN_CONFIG=/etc/countersign/countersign.yaml "$(command -v chroot)" --userspec=65532:65532 "$top/root" "$@"; }
demand "it says its version" test "$(inside /usr/bin/countersign version)" = "v$(cat "$top/version")"
mkdir "$top/root/etc/countersign" # as a volume would be
sed 's/127.0.0.1:8080/127.0.0.1:0/; s#/etc/countersign/twilio.secret#/var/lib/countersign/twilio.secret#; /^data:/i operations: {listen: "127.0.0.1:0"}' \
    "$(dirname "$0")/package/countersign.yaml" >"$top/root/etc/countersign/countersign.yaml"
inside /usr/bin/countersign keyset create /var/lib/countersign/keyset.json >/dev/null
install -m 0600 -o 65532 /dev/stdin "$top/root/var/lib/countersign/twilio.secret" <<<the-auth-token
demand "the configuration is right" inside /usr/bin/countersign config check
inside $(cat "$top/command") >"$top/log" 2>&1 &
server=$! # the shell that runs it
demand "it is ready" inside /usr/bin/countersign health --wait 60s
demand "nothing but its data folder is its own" test -z "$(find "$top/root" -xdev -user 65532 -not -path '*/var/lib/countersign*')"
pkill -TERM -P $server # the program alone: others of its name are none of ours
for _ in $(seq 200); do kill -0 $server 2>/dev/null || break; sleep 0.1; done
demand "it ends by SIGTERM" bash -c "! kill -0 $server 2>/dev/null"
[ $failed = 0 ] || cat "$top/log"
exit $failed
