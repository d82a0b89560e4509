#!/usr/bin/env bash
# The race in the browser: race.sh [ROUNDS, default 20] [WIDTHS, default 0.5,1.0,1.5,2.0]. Wants the networks that
# ../setup.sh exports, npm and chromium; prints tables.
set -euo pipefail
cd "$(dirname "$0")/../../.."
bash model/web/build.sh
mkdir -p target/peers/web
cp bench-suite/peers/web/package.json target/peers/web/
npm install --silent --prefix target/peers/web
node bench-suite/peers/web/race.mjs "$@"
