#!/bin/bash
# Tries a deb as its users would: installs it in a Debian root, edits one line, verifies a number through a stand-in for
# Twilio, upgrades, removes and purges it, and looks at what is left. The root is this machine's own, seen through an
# overlay in memory, and its processes are in a namespace of their own, so nothing here changes or ends. It needs root,
# Debian, openssl, python3 and curl.
#
#   deploy/release/try-deb.sh dist/countersign_*_amd64.deb
set -euo pipefail

deb=$(realpath "$1")
not_run() { echo "NOT RUN: $0: $1"; exit 0; }
[ "$(id -u)" = 0 ] || not_run "it needs root"
for program in dpkg-deb openssl python3 curl unshare runuser; do
    command -v $program >/dev/null || not_run "there is no $program"
done
top=${2:-}
if [ -z "$top" ]; then
    apart=(unshare --mount --net --pid --fork --mount-proc --kill-child)
    "${apart[@]}" true 2>/dev/null || not_run "this machine allows no namespaces"
    top=$(mktemp -d)
    trap 'rmdir "$top"' EXIT
    "${apart[@]}" "$0" "$deb" "$top"
    exit
fi

# The root: below a tmpfs, so that it is gone with this process's mounts.
mount -t tmpfs tmpfs "$top"
mkdir "$top"/{changes,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/changes,workdir=$top/work" "$top/root" 2>/dev/null || not_run "this machine can't mount an overlay"
root=$top/root
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run" # no systemd
mount -t tmpfs tmpfs "$root/tmp"
ip link set lo up 2>/dev/null || python3 - <<'END'
import fcntl, socket, struct
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
END
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT

# The stand-in: api.twilio.com on this loopback, with a certificate that the root trusts.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=api.twilio.com \
    -addext subjectAltName=DNS:api.twilio.com -keyout "$top/key" -out "$top/cert" 2>/dev/null
cat "$top/cert" >>"$root/etc/ssl/certs/ca-certificates.crt"
echo "127.0.0.1 api.twilio.com" >>"$root/etc/hosts"
cat >"$top/twilio.py" <<'END'
import base64, http.server, ssl, sys, urllib.parse
class Twilio(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        right = 'Basic ' + base64.b64encode(b'AC0123456789abcdef0123456789abcdef:the-auth-token').decode()
        ok = self.headers['Authorization'] == right and self.path == '/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json'
        if ok:
            print(form['To'][0], form['Body'][0], file=open(sys.argv[1] + '/sent', 'a'), flush=True)
        answer = b'{"sid":"SM0123456789abcdef0123456789abcdef"}' if ok else b'{"code":20003}'
        self.send_response(201 if ok else 401)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 443), Twilio)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/cert', sys.argv[1] + '/key')
server.socket = context.wrap_socket(server.socket, server_side=True)
open(sys.argv[1] + '/ready', 'w').close()
server.serve_forever()
END
python3 "$top/twilio.py" "$top" &
for _ in $(seq 200); do [ -e "$top/ready" ] && break; sleep 0.1; done

failed=0
demand() { # what, command...
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "ok    $what"; else echo "FAIL  $what"; failed=1; fi
}
in_root() { chroot "$root" "$@"; }
as_user() { chroot "$root" runuser -u countersign -- sh -c "cd /etc/countersign && $*"; }
serve() {
    # What the unit says, without systemd.
    as_user "exec $(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/countersign.service")" >"$top/log" 2>&1 &
    as_user "countersign health --wait 60s" >/dev/null || { cat "$top/log"; exit 1; }
}
stop() { # the server, and not what runs it; this namespace holds no other
    pkill -TERM -x countersign
    for _ in $(seq 200); do pgrep -x countersign >/dev/null || return 0; sleep 0.1; done
    echo "FAIL  the server doesn't end"; failed=1
}
api() { curl -sS -m 20 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d "$2" "http://127.0.0.1:8080/v1/$1"; }

began=$(date +%s)
cp "$deb" "$root/tmp/now.deb"
in_root dpkg -i /tmp/now.deb >"$top/dpkg" 2>&1 || { cat "$top/dpkg"; exit 1; }
sed -i 's/account: "ACCOUNT"/account: "AC0123456789abcdef0123456789abcdef"/' "$root/etc/countersign/countersign.yaml" # the one edited line
echo the-auth-token >"$root/tmp/token.txt"
in_root install -m 0600 -o countersign /tmp/token.txt /etc/countersign/twilio.secret
as_user "countersign config check" >/dev/null
as_user 'countersign project create "My project"' >/dev/null
token=$(as_user 'countersign key create --project "My project" --json' | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
serve
id=$(api verifications '{"to":"+12025550100","purpose":"login"}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
for _ in $(seq 200); do [ -s "$top/sent" ] && break; sleep 0.1; done
code=$(grep -oE '[0-9]{6}$' "$top/sent")
demand "the code that the stand-in got is right" grep -q '"valid":true' <(api checks "{\"to\":\"+12025550100\",\"purpose\":\"login\",\"code\":\"$code\"}")
echo "      from the deb to a verified code: $(($(date +%s) - began)) s"
demand "the keyset is private" test "$(stat -c '%a %U' "$root/var/lib/countersign/keyset.json")" = "600 $(stat -c %U "$root/var/lib/countersign")"
demand "a second code needs another start" grep -q '"already_approved"' <(api checks "{\"to\":\"+12025550100\",\"purpose\":\"login\",\"code\":\"$code\"}")
stop

# An upgrade: the same files as a later version.
dpkg-deb -R "$deb" "$top/later"
sed -i 's/^Version: .*/Version: 9999.0.0/' "$top/later/DEBIAN/control"
dpkg-deb -Zgzip -z1 -b "$top/later" "$root/tmp/later.deb" >/dev/null
keyset=$(sha256sum <"$root/var/lib/countersign/keyset.json")
in_root dpkg -i /tmp/later.deb >"$top/dpkg" 2>&1 || { cat "$top/dpkg"; exit 1; }
demand "the upgrade keeps the keyset" test "$keyset" = "$(sha256sum <"$root/var/lib/countersign/keyset.json")"
demand "the upgrade keeps the edited line" grep -q AC0123456789 "$root/etc/countersign/countersign.yaml"
serve
demand "after the upgrade, the verification is known" grep -q '"status":"approved"' <(curl -sS -H "Authorization: Bearer $token" "http://127.0.0.1:8080/v1/verifications/$id")
stop

in_root dpkg -r countersign >"$top/dpkg" 2>&1 || { cat "$top/dpkg"; exit 1; }
demand "a removal takes the program" test ! -e "$root/usr/bin/countersign"
demand "a removal leaves the data" test -e "$root/var/lib/countersign/keyset.json"
in_root dpkg -P countersign >"$top/dpkg" 2>&1 || { cat "$top/dpkg"; exit 1; }
left=$(find "$root/etc" "$root/usr" "$root/var" "$root/lib/systemd" -xdev -name '*countersign*' -newer "$top/cert" 2>/dev/null || true)
demand "a purge leaves no file: $left" test -z "$left"
demand "a purge leaves no user" bash -c "! grep -q countersign $root/etc/passwd $root/etc/group"
exit $failed
