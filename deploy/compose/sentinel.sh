#!/bin/sh
# A sentinel for the primary at $PRIMARY ("HOST PORT"). The settings are written once: afterwards they are the
# sentinel's own, which notes there who is the primary by now.
# $PORT, $DATA and $SERVER have other values where this runs outside a container.
set -eu
cd "${DATA:-/data}"
if [ ! -s sentinel.conf ]; then
  umask 077
  cat > sentinel.new << SETTINGS
port ${PORT:-26379}
sentinel monitor registry $PRIMARY 2
sentinel auth-pass registry $VALKEY_PASSWORD
sentinel down-after-milliseconds registry 3000
sentinel failover-timeout registry 15000
SETTINGS
  mv sentinel.new sentinel.conf
fi
exec "${SERVER:-valkey-server}" sentinel.conf --sentinel
