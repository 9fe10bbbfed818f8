#!/bin/sh
# SPDX-License-Identifier: MIT
# Looks for what the build needs and names every missing piece with the package that brings it.
# Exit status 1 when something is missing.
set -u
missing=0

# need WHAT DEBIAN-PACKAGE COMMAND...: the command succeeds when it is there
need() {
	what=$1 package=$2
	shift 2
	if "$@" >/dev/null 2>&1; then
		return
	fi
	[ "$missing" = 0 ] && echo "agentsight: the build needs a few things that are not here:" >&2
	printf '  %-28s apt-get install %s\n' "$what" "$package" >&2
	missing=1
}

has_clang_bpf() {
	echo 'int x;' | "${CLANG:-clang}" --target=bpf -x c -c -o /dev/null -
}

has_library() {
	"${PKG_CONFIG:-pkg-config}" --exists "$1"
}

has_llhttp() {
	has_library libllhttp || [ -e "${LLHTTP_SOURCES:-/usr/share/llhttp}/llhttp.c" ]
}

need "a C compiler" gcc "${CC:-cc}" --version
need "clang with the BPF target" "clang llvm" has_clang_bpf
need bpftool bpftool "${BPFTOOL:-bpftool}" version
need pkg-config pkg-config "${PKG_CONFIG:-pkg-config}" --version
need "libbpf (1.1 or newer)" libbpf-dev "${PKG_CONFIG:-pkg-config}" --atleast-version=1.1 libbpf
need json-c libjson-c-dev has_library json-c
need libelf libelf-dev has_library libelf
need zlib zlib1g-dev has_library zlib
need nghttp2 libnghttp2-dev has_library libnghttp2
need brotli libbrotli-dev has_library libbrotlidec
need zstd libzstd-dev has_library libzstd
need llhttp node-llhttp has_llhttp

if [ "$missing" = 1 ]; then
	echo "'sudo make deps' installs them on Debian and Ubuntu." >&2
	exit 1
fi
