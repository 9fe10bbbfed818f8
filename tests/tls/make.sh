#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make.sh NAME OUT: build the workload `tls` with a TLS library that the machine itself need not have.
#
#   boringssl	linked in and stripped, OUT/tls_boringssl_exe and OUT/tls_boringssl_pie
#   openssl11	OUT/tls_openssl11, which loads OpenSSL 1.1.1 from OUT/tls_openssl11.lib
#
# The libraries come from Debian packages and are kept in a cache outside the tree. What cannot be had is no
# failure: OUT/tls_NAME.why says why, for the tests to skip with; it is empty when all is there.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${AGENTSIGHT_TLS_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/agentsight/tls}
workload=$here/../workloads/tls.c
CC=${CC:-cc} CXX=${CXX:-c++}

# shellcheck source=tests/apt.sh
. "$here/../apt.sh"

# give_up WHY: for make, this is an end like another.
give_up()
{
	echo "make.sh: $name: $1" >&2
	echo "$1 (remove $out/tls_$name.why to try again)" >"$out/tls_$name.why"
	exit 0
}

# state_open SUITE [deb-src]
state_open()
{
	why=$(apt_missing)
	[ -z "$why" ] || give_up "$why"
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/agentsight-tls.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 1' HUP INT TERM
	apt_state_make "$tmp" "$@"
	echo "make.sh: $name: reading the index of $1" >&2
	apt_run apt-get -q -y --error-on=any update || give_up "cannot read the index of $1: $(cat "$tmp/why")"
	mkdir "$tmp/tree"
}

# tree_keep: what has been made in $tmp/tree is seen in the cache all at once.
tree_keep()
{
	rm -rf "$store" "$store.new"
	mv "$tmp/tree" "$store.new" # between file systems it is a copy
	mv "$store.new" "$store"
}

boringssl_fetch()
{
	command -v "$CXX" >/dev/null || give_up "no C++ compiler (package g++)"
	state_open bookworm deb-src
	echo "make.sh: $name: downloading its source" >&2
	(cd "$tmp/cache" && apt_run apt-get -q -y --download-only source android-platform-external-boringssl) ||
		give_up "cannot download BoringSSL's source: $(cat "$tmp/why")"
	mkdir "$tmp/source"
	tar -xf "$tmp"/cache/*.orig.tar.* -C "$tmp/source" --strip-components=1 --exclude='*/fuzz/*' \
		--exclude='*/wycheproof_testvectors/*'
	echo "make.sh: $name: building it" >&2
	env -u MAKEFLAGS -u MFLAGS CC="$CC" CXX="$CXX" make -s -C "$tmp/source" -f "$here/boringssl.mk" \
		-j "$(getconf _NPROCESSORS_ONLN)" >&2 || give_up "BoringSSL does not build with this compiler"
	mv "$tmp/source/libssl.a" "$tmp/source/libcrypto.a" "$tmp/source/src/include" "$tmp/tree"
	tree_keep
}

# workload_link OUTPUT FLAG…: what the compiler says is told only when it fails.
workload_link()
{
	output=$1
	shift
	messages=$($CC -std=gnu11 -D_GNU_SOURCE -O2 -w -o "$output" "$workload" "$@" -lpthread 2>&1) || {
		echo "$messages" >&2
		exit 1
	}
}

boringssl_link()
{
	set -- -s -isystem "$store/include" "$store/libssl.a" "$store/libcrypto.a"
	workload_link "$out/tls_boringssl_exe" -fno-pie -no-pie -static "$@"
	workload_link "$out/tls_boringssl_pie" -fPIE -static-pie "$@"
}

openssl11_fetch()
{
	state_open bullseye
	echo "make.sh: $name: downloading it" >&2
	(cd "$tmp/cache" && apt_run apt-get -q -y download libssl1.1 libssl-dev) ||
		give_up "cannot download OpenSSL 1.1.1: $(cat "$tmp/why")"
	for package in "$tmp"/cache/*.deb; do
		dpkg-deb -x "$package" "$tmp/tree"
	done
	tree_keep
}

openssl11_link()
{
	from=$store/usr/lib/x86_64-linux-gnu
	to=$out/tls_openssl11.lib
	mkdir -p "$to"
	cp "$from/libssl.so.1.1" "$from/libcrypto.so.1.1" "$to"
	# shellcheck disable=SC2016 # the loader expands it
	workload_link "$out/tls_openssl11" -isystem "$store/usr/include" -isystem "$store/usr/include/x86_64-linux-gnu" \
		"$to/libssl.so.1.1" "$to/libcrypto.so.1.1" -Wl,-rpath,'$ORIGIN/tls_openssl11.lib'
}

[ $# -eq 2 ] || { echo "usage: make.sh boringssl|openssl11 OUT" >&2; exit 2; }
name=$1 out=$2 store=$cache/$1
mkdir -p "$out" "$cache"
[ "$(uname -m)" = x86_64 ] || give_up "only for x86-64"

# Two runs may want the same one; the second finds it in the cache.
exec 9>"$cache/$name.lock"
flock 9
case $name in
boringssl)
	[ -d "$store" ] || boringssl_fetch
	boringssl_link
	;;
openssl11)
	[ -d "$store" ] || openssl11_fetch
	openssl11_link
	;;
*)
	echo "make.sh: no library '$name'" >&2
	exit 2
	;;
esac
: >"$out/tls_$name.why"
