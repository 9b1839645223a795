#!/bin/sh
# After an installation (deb: configure; rpm: 1) or an upgrade (rpm: 2).
set -e
data=/var/lib/countersign
if ! getent passwd countersign >/dev/null; then
	useradd --system --user-group --home-dir $data --no-create-home --shell /usr/sbin/nologin countersign
fi
install -d -m 0700 -o countersign -g countersign $data
if [ ! -e $data/keyset.json ]; then
	runuser -u countersign -- /usr/bin/countersign keyset create $data/keyset.json >/dev/null
	cat <<'END'
Countersign is installed, with a new keyset in /var/lib/countersign. To begin:
  1. Edit /etc/countersign/countersign.yaml: the carrier, and public_sender.
  2. install -m 0600 -o countersign token.txt /etc/countersign/twilio.secret
  3. cd /etc/countersign && runuser -u countersign -- countersign config check
  4. runuser -u countersign -- countersign project create "My project", then key create --project "My project"
  5. systemctl enable --now countersign
END
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart countersign.service
fi
