#!/bin/sh
# SPDX-License-Identifier: MIT
# Every header compiles alone, with both compilers.
set -u
cd "$(dirname "$0")/.." || exit 1
libraries=$(pkg-config --cflags libbpf json-c libelf zlib)
bad=0

for header in userspace/*/*.h include/agentsight/*.h; do
	for compiler in "${CC:-cc}" "${CLANG:-clang}"; do
		# twice, so that a missing guard shows; -Wno-unused: static functions are there for others
		# shellcheck disable=SC2086 # lists of flags
		printf '#include "%s"\n#include "%s"\n' "$PWD/$header" "$PWD/$header" |
			$compiler -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused -Werror -fsyntax-only \
				-Iinclude -Iuserspace -I"${O:-out}/bpf" $libraries -x c - || {
			echo "$header does not compile alone ($compiler)" >&2
			bad=1
		}
	done
done
exit $bad
