#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment and tests it there: pytest, mypy, and the stubs against the module.
# Wants Python 3.10 or later (PYTHON=...) and PyPI. OUT=FOLDER keeps the wheel. Arguments are more packages to install: with
# `torch torchvision` logits are compared with theirs, with `ray[data]` a worker of examples/ray_classify.py is killed.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/build"
"$work/build/bin/pip" install --quiet 'maturin>=1.9,<2'
PATH=$work/build/bin:$PATH "$work/build/bin/maturin" build --release --out "${OUT:-$work/wheels}" --interpreter "$python"

"$python" -m venv "$work/empty"
"$work/empty/bin/pip" install --quiet "${OUT:-$work/wheels}"/shufflenet-*-abi3-*.whl numpy pytest hypothesis mypy "$@"
cp -r tests examples pyproject.toml "$work"
cd "$work"
empty/bin/python -c 'import sys, shufflenet; print("imported from", shufflenet.__file__); sys.exit("hypothesis" in sys.modules)'
empty/bin/python -m pytest -q -rs -p no:cacheprovider tests
empty/bin/python -m mypy --strict -p shufflenet
empty/bin/python -m mypy.stubtest shufflenet._native
