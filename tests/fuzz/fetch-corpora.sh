#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fetch-corpora.sh: fetches public test inputs into a cache beside the tree and lays them out for `make
# check-corpora`. What is there already is not fetched again. They stay out of the tree: their licences differ, and
# some have none. AGENTSIGHT_CORPORA names another cache.

set -eu

cd "$(dirname "$0")"
cache=${AGENTSIGHT_CORPORA:-$HOME/.cache/agentsight/corpora}
mkdir -p "$cache/git"

# What each is for stands in corpora.py.
for repository in \
	nst/JSONTestSuite \
	nodejs/llhttp \
	http2jp/hpack-test-case \
	http2jp/http2-frame-test-case \
	nghttp2/nghttp2 \
	dvyukov/go-fuzz-corpus \
	radareorg/radare2-testbins \
	google/brotli \
	facebook/zstd \
	minimaxir/big-list-of-naughty-strings; do
	directory=$cache/git/$(echo "$repository" | tr / +)
	if ! [ -e "$directory" ]; then
		echo "fetching $repository"
		git clone -q --bare --depth 1 "https://github.com/$repository" "$directory.part" || {
			rm -rf "$directory.part"
			echo "cannot fetch $repository: left out" >&2
			continue
		}
		mv "$directory.part" "$directory"
	fi
done

exec "${SYSTEM_PYTHON:-python3}" corpora.py "$cache"
