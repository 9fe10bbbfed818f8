#!/bin/sh
# SPDX-License-Identifier: MIT
# Static checks: clang-tidy with .clang-tidy; cppcheck and shellcheck where they are installed.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

if command -v "${CLANG_TIDY:-clang-tidy}" >/dev/null 2>&1; then
	# shellcheck disable=SC2086 # a list of flags
	"${CLANG_TIDY:-clang-tidy}" --quiet --warnings-as-errors='*' userspace/*.c userspace/*/*.c -- \
		${TIDY_FLAGS:--std=gnu11 -D_GNU_SOURCE -Iinclude -Iuserspace -Iout/bpf} 2>"${O:-out}/tidy.log" ||
		bad=1
	grep -E 'error:' "${O:-out}/tidy.log" >&2
else
	echo "clang-tidy is not installed: 'sudo make test-deps'" >&2
	bad=1
fi

if command -v cppcheck >/dev/null 2>&1; then
	# it does not know _cleanup_, so every guarded local looks like a leak to it
	cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr --std=c11 \
		--suppress=missingInclude --suppress=missingIncludeSystem \
		--suppress=memleak --suppress=resourceLeak --suppress=syntaxError --suppress=unknownMacro -D_GNU_SOURCE -D__x86_64__ \
		'-DMIN(a,b)=((a)<(b)?(a):(b))' '-DMAX(a,b)=((a)>(b)?(a):(b))' \
		-Iinclude -Iuserspace userspace || bad=1
fi

if command -v shellcheck >/dev/null 2>&1; then
	shellcheck --severity=warning tools/*.sh tests/*.sh tests/*/*.sh || bad=1
fi
exit $bad
