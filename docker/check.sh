#!/bin/sh
# Whether compose, version 1 and 2 where it is there, can read docker-compose.yml with each profile.
set -eu
cd "$(dirname "$0")/.."
if ! command -v docker-compose > /dev/null; then
  echo "docker/check.sh: docker-compose is missing; on Debian: apt-get install docker-compose" >&2
  exit 1
fi
for profile in none gpu robots postgres watch; do
  docker-compose --profile "$profile" config -q
  if docker compose version > /dev/null 2>&1; then docker compose --profile "$profile" config -q; fi
done
