#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing on Debian and Ubuntu, names it elsewhere. Nothing is touched when
# everything is there.
# Usage: tools/deps.sh build|test|run...
set -eu

# What a group needs: one line per need, "check|Debian package|name elsewhere".
needs() {
	case $1 in
	build)
		cat <<-'END'
			command gcc|gcc libc6-dev|gcc
			command make|make|make
			command pkg-config|pkg-config|pkg-config
			clang_bpf|clang llvm|clang with the BPF target
			bpftool|bpftool|bpftool
			library libbpf|libbpf-dev|libbpf 1.1 or newer, with headers
			library json-c|libjson-c-dev|json-c, with headers
			library libelf|libelf-dev|libelf (elfutils), with headers
			library zlib|zlib1g-dev|zlib, with headers
			library libnghttp2|libnghttp2-dev|nghttp2, with headers
			library libbrotlidec|libbrotli-dev|brotli, with headers
			library libzstd|libzstd-dev|zstd, with headers
			llhttp|node-llhttp|llhttp, with headers
		END
		;;
	run)
		cat <<-'END'
			command curl|curl ca-certificates|curl
			command python3|python3-minimal libpython3-stdlib|python3
			command openssl|openssl|openssl
		END
		;;
	test)
		cat <<-'END'
			library cmocka|libcmocka-dev|cmocka, with headers
			library openssl|libssl-dev|OpenSSL, with headers
			library nss|libnss3-dev|NSS, with headers
			command tstclnt|libnss3-tools|NSS's own client
			jsonschema|python3-jsonschema|python3-jsonschema
			pytest|python3-pytest|python3-pytest
			command curl|curl ca-certificates|curl
			command jq|jq|jq
			command openssl|openssl|openssl
			command clang-format|clang-format|clang-format
			command clang-tidy|clang-tidy|clang-tidy
			command shellcheck|shellcheck|shellcheck
		END
		# for BoringSSL, which is only built where apt can fetch its source
		! command -v apt-get >/dev/null 2>&1 || echo 'command c++|g++|g++'
		;;
	*)
		echo "usage: $0 build|test|run..." >&2
		exit 2
		;;
	esac
}

is_there() {
	case $1 in
	command\ *) command -v "${1#* }" >/dev/null 2>&1 ;;
	library\ libbpf) pkg-config --atleast-version=1.1 libbpf 2>/dev/null ;;
	library\ *) pkg-config --exists "${1#* }" 2>/dev/null ;;
	clang_bpf) echo 'int x;' | clang --target=bpf -x c -c -o /dev/null - 2>/dev/null ;;
	bpftool) "$(sh tools/find-bpftool.sh)" version >/dev/null 2>&1 ;;
	llhttp) pkg-config --exists libllhttp 2>/dev/null || [ -e /usr/share/llhttp/llhttp.c ] ;;
	jsonschema | pytest) /usr/bin/python3 -c "import $1" 2>/dev/null ;;
	esac
}

# Where bpftool is no package of its own (Ubuntu), the kernel's tools have it.
real_packages() {
	for package in $1; do
		if [ "$package" = bpftool ] && ! apt-cache show bpftool >/dev/null 2>&1; then
			package="linux-tools-common linux-tools-generic"
		fi
		printf ' %s' "$package"
	done
}

# Fills `missing` with packages, or with names where $1 is "names".
collect() {
	what=$1
	shift
	missing=
	newline='
'
	for group; do
		old_ifs=$IFS
		IFS=$newline
		for line in $(needs "$group"); do
			IFS=$old_ifs
			check=${line%%|*}
			rest=${line#*|}
			is_there "$check" && continue
			if [ "$what" = names ]; then
				missing="$missing  ${rest#*|}$newline"
			else
				missing="$missing$(real_packages "${rest%%|*}")"
			fi
		done
		IFS=$old_ifs
	done
}

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || needs "" # says how it is used
for group; do
	needs "$group" >/dev/null
done

collect names "$@"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	printf 'agentsight: these are missing; install them with your package manager:\n%s' "$missing" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	collect packages "$@"
	echo "agentsight: run as root: apt-get install$missing" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
echo "  APT      update"
# a mirror that does not answer is no reason to stop: the lists may be there from before
apt-get update -qq || true
collect packages "$@"
echo "  APT      install$missing"
# shellcheck disable=SC2086 # a list of packages
# another may be at work, as after a boot
apt-get install -y -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 --no-install-recommends $missing >/dev/null

collect names "$@"
if [ -n "$missing" ]; then
	printf 'agentsight: still missing after the installation (too old in this release?):\n%s' "$missing" >&2
	exit 1
fi
