#!/usr/bin/env bash
# Licences, advisories, bans and sources of all dependencies, by the rules in deny.toml.
#
# Installs cargo-deny if the machine lacks it. Ends with 3 if it cannot be installed, or if the advisories cannot be fetched.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! cargo deny --version >/dev/null 2>&1; then
  cargo install --locked --quiet cargo-deny || exit 3
fi
cargo deny --all-features check bans licenses sources
# Without a network the database of advisories is missing.
cargo deny fetch db >/dev/null 2>&1 || exit 3
cargo deny --all-features check advisories
