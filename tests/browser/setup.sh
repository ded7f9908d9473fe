#!/usr/bin/env bash
# What the browser tests need beside Python: Debian's Chromium and npm, installed where missing (root), and
# axe-core from npm, at the version and checksum of package-lock.json.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v npm >/dev/null || missing+=(npm)
if [ "${#missing[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || { echo "browser setup: needs ${missing[*]}, and there is no apt-get" >&2; exit 1; }
    echo "browser setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
npm ci --no-audit --no-fund --ignore-scripts --silent
