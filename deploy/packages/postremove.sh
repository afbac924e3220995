#!/bin/sh
# After the files have gone: deb says "purge" when the configuration goes too. The user stays: files may be its own.
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ "$1" = purge ]; then
  rm -f /etc/guildcast/jwt-secret
  rmdir /etc/guildcast 2>/dev/null || true
fi
