#!/bin/sh
# Put syncsvc as it stands in this tree into the empty directory $1, every package checked by its hash.
# Hosts and the image get it by this, and so does what docker/check.sh tries without Docker.
set -eu
umask 022 # everybody may start it
home=$1
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
builder=$scratch/builder/bin/python

# What builds the wheel stays outside; it comes from the lock file for working on syncsvc.
"${PYTHON:-python3}" -m venv "$scratch/builder"
awk '/^[a-z]/ {wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/} wanted' \
  requirements-dev.lock >"$scratch/builder.lock"
locked() {
  "$builder" -m pip --quiet --quiet --disable-pip-version-check "$@"
}
locked install --no-deps --require-hashes --requirement "$scratch/builder.lock"
"$builder" -m hatchling build --target wheel --directory "$scratch/dist"

# What runs: the locked packages and the wheel, without pip.
"${PYTHON:-python3}" -m venv --without-pip "$home"
locked --python "$home/bin/python" install --no-deps --require-hashes --requirement requirements.lock
locked --python "$home/bin/python" install --no-deps --no-index "$scratch"/dist/*.whl
