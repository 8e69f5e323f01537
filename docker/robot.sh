#!/bin/sh
# Gives this container a robot's name and a key of its own, then runs the robot: robot.sh ROBOT ...
#
# Containers of one service share a folder. Each takes the first name in it that no living one has,
# and holds its lock for as long as it lives. So whoever replaces a container goes on with its key,
# its policies, and the rows that it had not delivered.
set -eu
robot=$1
home="$HOME/.dreamfleet"
number=1
while exec 9> "$home/$robot-$number.lock"; ! flock --nonblock 9; do
  number=$((number + 1))
done
name="$robot-$number"

until [ -s /server-key/server.pub ]; do sleep 1; done
dreamfleet-robot enrol --name "$name" --server-key /server-key/server.pub --json > /dev/null
cp "$home/$name/robot.pub" "/enrol/.$name.part"
mv "/enrol/.$name.part" "/enrol/$name.pub"

echo "$name begins"
shift
exec dreamfleet-robot run "$robot" --name "$name" --server "${GATEWAY:-tcp://server:5555}" "$@"
