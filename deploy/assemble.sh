#!/bin/sh
# Install this source tree into the empty directory $1, with the hash of every package checked.
# Used on hosts, in the Dockerfile and in docker/check.sh.
set -eu
umask 022 # every user can run it
home=$1
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
builder=$scratch/builder/bin/python

# Build the wheel with tools from the development lock file, in an environment that is removed afterwards.
"${PYTHON:-python3}" -m venv "$scratch/builder"
awk '/^[a-z]/ {wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/} wanted' \
  requirements-dev.lock >"$scratch/builder.lock"
locked() {
  "$builder" -m pip --quiet --quiet --disable-pip-version-check "$@"
}
locked install --no-deps --require-hashes --requirement "$scratch/builder.lock"
"$builder" -m hatchling build --target wheel --directory "$scratch/dist"

# Install the locked packages and the wheel, without pip.
"${PYTHON:-python3}" -m venv --without-pip "$home"
locked --python "$home/bin/python" install --no-deps --require-hashes --requirement requirements.lock
locked --python "$home/bin/python" install --no-deps --no-index "$scratch"/dist/*.whl
