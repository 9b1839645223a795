#!/bin/sh
# After a removal. Only a purge of the deb deletes the database, the keyset, the secrets and the user.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/countersign /etc/countersign
	if getent passwd countersign >/dev/null; then
		userdel countersign
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
