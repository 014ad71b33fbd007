#!/bin/sh
# Test the steps of the image without Docker: assemble the tree, then run it read-only as an unprivileged user.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
home=$scratch/opt/syncsvc
state=$scratch/var/lib/syncsvc
started=
trap 'kill $started 2>/dev/null || :; chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
chmod 755 "$scratch"

unprivileged=env
if [ "$(id -u)" -eq 0 ]; then
  unprivileged="setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --bounding-set=-all"
fi

fail() {
  echo "$1" >&2
  exit 1
}

# Wait for a pattern in a file while the process that writes the file is alive.
await() {
  until grep -q "$1" "$2"; do
    kill -0 "$3" || fail "The process ended before '$1': $(cat "$2")"
    sleep 0.1
  done
}

# Find a Python that other users can start; one in root's home directory they can't.
for PYTHON in "${PYTHON:-python3}" /usr/local/bin/python3 /usr/bin/python3 none; do
  fits='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
  $unprivileged "$PYTHON" -c "$fits" 2>/dev/null && break
done
[ "$PYTHON" != none ] || fail "No Python 3.11 or newer with venv can be started by every user. Install python3 and python3-venv."
export PYTHON

mkdir -p "$state" "$scratch/opt"
"$here/../assemble.sh" "$home"
cp "$here/healthcheck.py" "$home"
"$here/sbom.sh" "$home"
listed=$("$PYTHON" -c 'import json, sys; print(sorted(each["name"] for each in json.load(sys.stdin)["components"]))' <"$home/sbom.cdx.json")
installed=$("$home/bin/python" -c 'import importlib.metadata as m; print(sorted(each.name for each in m.distributions()))')
[ "$listed" = "$installed" ] || fail "The SBOM lists $listed, but installed are $installed."
chmod -R a-w "$scratch/opt"
[ "$(id -u)" -ne 0 ] || chown 65532:65532 "$state"
cd "$state"
[ -z "$($unprivileged find "$home" ! -type l -writable -print -quit)" ] || fail "The unprivileged user can write to the tree."

# Run with an empty environment, no home directory and no shell.
bare="$unprivileged env -i PATH=$home/bin"
$bare "$home/bin/syncsvc" --version
$bare "$home/bin/syncsvc" sandbox --port 0 >"$scratch/provider" &
started=$!
await export "$scratch/provider" $started
bare="$bare $(sed -n 's/^ *export //p' "$scratch/provider") SYNCSVC_LOG_FORMAT=json"
$bare "$home/bin/syncsvc" migrate
$bare "$home/bin/syncsvc" sync --json
$bare "$home/bin/syncsvc" runs

# The image's command and its HEALTHCHECK, with the worker's process ID instead of 1.
port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
bare="$bare SYNCSVC_HTTP_PORT=$port"
$bare "$home/bin/syncsvc" run 2>"$scratch/worker" &
worker=$!
started="$started $worker"
await sync.finished "$scratch/worker" $worker
$bare "$home/bin/python" "$home/healthcheck.py" $worker || fail "The worker is not healthy."
kill $worker
wait $worker || fail "The worker stopped with an error: $(cat "$scratch/worker")"

[ -z "$(find "$scratch/opt" -newer "$scratch/provider" -print -quit)" ] || fail "The worker wrote to the read-only tree."
echo "All steps of the image work."
