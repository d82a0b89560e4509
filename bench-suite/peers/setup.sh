#!/bin/sh
# Installs the peers at the versions of requirements.txt and of tract/, and exports the four networks for them:
#     setup.sh [FOLDER]        default: target/peers
# Needs Python 3.11, cargo, a C++ compiler and about 9 GB: PyPI's torch brings CUDA along. With
#     PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# pip finds the smaller build for CPUs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/peers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
cargo build --release --locked --manifest-path "$here/tract/Cargo.toml" --target-dir "$folder/tract"
"$folder/venv/bin/python" "$here/export.py" "$folder/models" >"$folder/export.log" 2>&1 || {
    tail -n 20 "$folder/export.log" >&2
    exit 1
}
