#!/bin/sh
# SPDX-License-Identifier: MIT
# Records a live demonstration; with arguments, ./agentsight runs with these instead.
# Everything it starts is ended, and everything it makes but the recording is removed.
set -eu
cd "$(dirname "$0")/.."
[ $# = 0 ] || exec ./agentsight "$@"
# the system's own programs: wrappers that choose a version would bury the picture
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

if [ "$(id -u)" != 0 ]; then
	echo "agentsight: reading what other programs do needs root: sudo make run" >&2
	exit 3
fi

directory=$(mktemp -d)
server=
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	[ -z "$server" ] || wait "$server" 2>/dev/null || true
	rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=agentsight-demo \
	-addext subjectAltName=IP:127.0.0.1 \
	-keyout "$directory/key" -out "$directory/certificate" 2>"$directory/openssl.log" || {
	cat "$directory/openssl.log" >&2
	exit 1
}

python3 tools/demo_server.py "$directory/certificate" "$directory/key" "$directory/port" &
server=$!
while [ ! -e "$directory/port" ]; do
	kill -0 "$server" 2>/dev/null || {
		echo "agentsight: the demonstration's server did not start" >&2
		exit 1
	}
	sleep 0.05
done

mkdir -p out
# of hundreds of files only those of the demonstration, not every library that programs load
filter="source != \"file\" or data.path contains \"${directory##*/}\""
echo "Recording tools/demo-client.sh, with curl and python3, against a TLS server on this machine."
echo "To repeat it: sudo sh tools/demo.sh"
echo
status=0
./agentsight record --output out/demo.log --filter "$filter" -- \
	sh tools/demo-client.sh "$(cat "$directory/port")" "$directory/certificate" "$directory" || status=$?
echo
if [ "$status" = 0 ]; then
	echo "The whole recording is in out/demo.log, one JSON object per line. Next:"
	echo "  sudo ./agentsight record -c claude        # or: sudo make run ARGS='record -c claude'"
fi
exit "$status"
