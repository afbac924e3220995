#!/bin/sh
# After the files have come: deb says "configure" and the old version if there was one, rpm 1 (new) or 2 (update).
set -e

if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers guildcast.conf
elif ! getent passwd guildcast >/dev/null; then
  useradd --system --user-group --home-dir / --shell /usr/sbin/nologin guildcast
fi

# The unit passes it to the node. Tokens are good if whoever mints them has the same.
secret=/etc/guildcast/jwt-secret
if [ ! -e "$secret" ]; then
  (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$secret")
fi

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  if [ -n "$2" ] || [ "$1" = 2 ]; then
    systemctl try-restart guildcast.service # drains first
  else
    echo "guildcast: edit /etc/guildcast/guildcast.yaml and put the API's secret into $secret, then"
    echo "  systemctl enable --now guildcast"
  fi
fi
