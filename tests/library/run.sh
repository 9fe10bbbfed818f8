#!/bin/bash
# SPDX-License-Identifier: MIT
#
# libagentsight as somebody else's program gets it: installed into an empty directory, found with
# pkg-config, compiled with its header and nothing else of this tree. Prints a line per test and closes with
# "N passed, N failed, N skipped". As root the tests run a second time as an ordinary user.
#
# It was built for PREFIX=/usr/local, or for whatever was asked for, and is installed for another place, out of a
# copy: the build itself stays what it is.
#
# CC, CXX: the compilers. LIBRARY: another build of it instead of the installed one, with LIBRARY_CFLAGS.

# shellcheck disable=SC2317 # functions that try() calls

set -uo pipefail

cd "$(dirname "$0")/../.." || exit 2
CC=${CC:-cc}
CXX=${CXX:-c++}
WARN=(-Wall -Wextra -Wpedantic -Werror)
passed=0 failed=0 skipped=0

pass()
{
	echo "ok library: $1"
	passed=$((passed + 1))
}

fail()
{
	echo "not ok library: $1"
	failed=$((failed + 1))
	[[ ! -s $tmp/log ]] || sed 's/^/    /' "$tmp/log" | tail -n 30 >&2
}

skip()
{
	echo "skip library: $1"
	skipped=$((skipped + 1))
}

# try NAME COMMAND...: what it says is shown when it fails
try()
{
	local name=$1

	shift
	if "$@" >"$tmp/log" 2>&1; then
		pass "$name"
	else
		fail "$name"
		return 1
	fi
}

close()
{
	rm -rf "$tmp"
	echo "$passed passed, $failed failed, $skipped skipped"
	exit $((failed > 0))
}

# The tree and what is built of it, with their times.
copy_built()
{
	mkdir -p "$tmp/src/out" &&
		cp -a Makefile tools packaging userspace include bpf agentsight "$tmp/src/" &&
		find "${O:-out}" -mindepth 1 -maxdepth 1 \( -name userspace -o -name bpf -o -name gen -o -name llhttp -o \
			-name 'lib*' -o -name .probed -o -name .data-in \) -exec cp -a -t "$tmp/src/out" {} +
}

# what_looks_for FILE: those of what was installed that have its name in them
what_looks_for()
{
	grep -laF "$1" "$prefix/bin/agentsight" "$prefix/lib/libagentsight.so.1"
}

data_are_looked_for_where_they_are()
{
	local name

	for name in prices.txt offsets.txt; do
		test -s "$prefix/share/agentsight/$name" || return
		test "$(what_looks_for "/opt/agentsight/share/agentsight/$name" | wc -l)" = 2 || return
	done
	! what_looks_for /usr/local/share/agentsight
}

# What is in the header's comment, inside a main() that has its arguments.
example()
{
	echo '#include <agentsight/agentsight.h>'
	echo '#include <err.h>'
	echo '#include <stdio.h>'
	echo 'int main(int argc, char **argv) { argv += argc > 0;'
	sed -n '/^ \*\//q; s/^ \*\t//p' "$prefix/include/agentsight/agentsight.h"
	echo 'return 0; }'
}

example_runs()
{
	# its own buffer ends anywhere in a line
	"$tmp/example" sh -c 'echo its own output >&2; exit 3' >"$tmp/out" 2>"$tmp/err" &&
		grep -qx 'its own output' "$tmp/err" &&
		grep -q '"source":"system".*"type":"tree"' "$tmp/out" &&
		tail -n 1 "$tmp/out" | grep -q '"type":"stop"'
}

symbols_are_those_of_the_map()
{
	nm -D --defined-only "$prefix/lib/libagentsight.so.1" | awk '$2 != "A" { print $3 }' |
		sed 's/@.*//' | LC_ALL=C sort >"$tmp/exported"
	sed -nE 's/^\t(agentsight_[a-z_]+);$/\1/p' userspace/lib/agentsight.map | LC_ALL=C sort >"$tmp/mapped"
	# declarations: a name and its arguments, at the beginning of a line or behind a type
	sed -nE '/^(const char \*|int |void |pid_t )agentsight_/s/.*(agentsight_[a-z_]+)\(.*/\1/p' \
		"$prefix/include/agentsight/agentsight.h" | LC_ALL=C sort >"$tmp/declared"
	test -s "$tmp/mapped" && diff "$tmp/mapped" "$tmp/exported" && diff "$tmp/mapped" "$tmp/declared"
}

soname()
{
	test "$(readlink "$prefix/lib/libagentsight.so")" = libagentsight.so.1 &&
		readelf -d "$prefix/lib/libagentsight.so" | grep -q 'SONAME.*\[libagentsight.so.1\]'
}

# tap WHO COMMAND...: a program that writes TAP
tap()
{
	local who=$1 line before=$((passed + failed)) status=0

	shift
	CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 200 "$@" >"$tmp/tap" 2>&1 || status=$?
	: >"$tmp/log"
	while read -r line; do
		case $line in
		'ok '*) pass "${line#* - } ($who)" ;;
		'not ok '*) fail "${line#* - } ($who)" ;;
		esac
	done <"$tmp/tap"
	if ((status != 0 || passed + failed == before)); then
		cp "$tmp/tap" "$tmp/log"
		fail "it ended with status $status ($who)"
	fi
}

# with one of our own, which does nothing to this machine
linker_is_told()
{
	mkdir -p "$tmp/bin" &&
		printf '#!/bin/sh\n>"%s"\n' "$tmp/told" >"$tmp/bin/ldconfig" &&
		chmod 755 "$tmp/bin/ldconfig" &&
		PATH=$tmp/bin:$PATH make -s -C "$tmp/src" install O=out PREFIX="$tmp/plain" &&
		test -e "$tmp/told" && rm "$tmp/told" &&
		PATH=$tmp/bin:$PATH make -s -C "$tmp/src" uninstall O=out PREFIX="$tmp/plain" &&
		test -e "$tmp/told"
}

nothing_of_it_is_left()
{
	find "$tmp/plain" '(' -type f -o -name 'agentsight*' ')' >"$tmp/left" && ! grep . "$tmp/left"
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/agentsight-library.XXXXXX")
chmod 755 "$tmp" # another user runs what is in it
prefix=$tmp/opt/agentsight

try 'there is something to install' copy_built || close
try 'it is installed' make -s -C "$tmp/src" install O=out DESTDIR="$tmp" PREFIX=/opt/agentsight || close
try 'it looks for its data where they were installed' data_are_looked_for_where_they_are
[[ -z ${LIBRARY:-} ]] || cp "$LIBRARY" "$prefix/lib/libagentsight.so.1"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tmp
export LD_LIBRARY_PATH=$prefix/lib
try 'pkg-config knows it' pkg-config --exists --print-errors libagentsight || close
read -ra flags <<<"$(pkg-config --cflags --libs libagentsight)"
read -ra more <<<"${LIBRARY_CFLAGS:-}"
version=$(pkg-config --modversion libagentsight)

try 'its name and the link to it' soname
try 'exactly what the header declares is exported' symbols_are_those_of_the_map
example >"$tmp/example.c"
try 'the example of the header compiles' \
	"$CC" -std=gnu11 "${WARN[@]}" "${more[@]}" -o "$tmp/example" "$tmp/example.c" "${flags[@]}" &&
	try 'the example of the header runs' example_runs

echo '#include <agentsight/agentsight.h>' >"$tmp/alone.c"
cat >"$tmp/in.cpp" <<'END'
#include <agentsight/agentsight.h>
int main() { agentsight_free(nullptr); return agentsight_version()[0] == 0; }
END
try 'the header stands alone in C99' "$CC" -std=c99 "${WARN[@]}" -c -o "$tmp/alone.o" "$tmp/alone.c" "${flags[@]}"
if command -v "$CXX" >/dev/null; then
	try 'the header is C++' "$CXX" -std=c++11 "${WARN[@]}" "${more[@]}" -o "$tmp/in" "$tmp/in.cpp" "${flags[@]}" &&
		try 'a C++ program runs' "$tmp/in"
else
	skip 'the header is C++ - there is no C++ compiler'
fi

try 'the tests compile' "$CC" -std=gnu11 -O1 -g -Wall -Wextra -Wno-unused-parameter -Werror "${more[@]}" \
	"-DVERSION=\"$version\"" -o "$tmp/test_library" tests/library/test_library.c "${flags[@]}" -lcmocka -lpthread ||
	close
if ((EUID == 0)); then
	try 'the linker is told of it' linker_is_told &&
		try 'nothing of it is left where it was removed' nothing_of_it_is_left
	tap root "$tmp/test_library"
	tap 'an ordinary user' setpriv --reuid=65534 --regid=65534 --clear-groups "$tmp/test_library"
else
	tap 'an ordinary user' "$tmp/test_library"
fi
close
