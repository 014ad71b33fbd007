#!/bin/sh
# List the packages of the installation in the directory $1 as a CycloneDX SBOM, $1/sbom.cdx.json.
set -eu
home=$1
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch/tool"
"$scratch/tool/bin/python" -m pip --quiet --quiet --disable-pip-version-check install \
  --no-deps --require-hashes --requirement "$here/requirements-sbom.lock"
"$scratch/tool/bin/cyclonedx-py" environment --output-reproducible --output-format JSON \
  --output-file "$home/sbom.cdx.json" "$home/bin/python"
