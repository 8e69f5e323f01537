#!/bin/sh
# Makes what the server needs before it listens to others, where it is missing: its key pair, a token
# for the operator, and a viewer's for Prometheus. Secrets stay in volumes that no robot sees.
set -eu
umask 077
dreamfleet keys init --data /data > /dev/null

make_token() { # name, role, file, mode
  if [ -s "$3" ]; then return; fi
  # A token may have been made, and the power lost before it was written down.
  dreamfleet tokens revoke "$1" --data /data > /dev/null 2>&1 || true
  dreamfleet tokens create "$1" --role "$2" --data /data > "$3.part" 2> /dev/null
  chmod "$4" "$3.part"
  mv "$3.part" "$3"
  echo "a $2's token is in $3"
}
make_token operator operator /data/operator.token 600
make_token prometheus viewer /scrape/token 640 # Prometheus' container is of our group

umask 022
cp /data/keys/server.pub /server-key/.server.part
mv /server-key/.server.part /server-key/server.pub
