#!/bin/sh
# Before the files go: deb says "remove" or "upgrade", rpm 0 (remove) or 1 (update).
set -e
case "$1" in
  remove | 0) [ ! -d /run/systemd/system ] || systemctl disable --now guildcast.service ;;
esac
