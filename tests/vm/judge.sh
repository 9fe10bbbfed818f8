#!/bin/sh
# SPDX-License-Identifier: MIT
#
# judge.sh KERNEL [EXCEPTIONS-FILE] <RESULT: say what a guest's output amounts to.
#
# The guest writes one line per test,
#
#	ok NAME
#	not ok NAME - why
#	skip NAME - why
#
# a closing line "N passed, N failed, N skipped", and init.c's VM-TAINT and VM-RESULT. All else is
# passed on unread. The output ends with a closing line of the same form, in which an expected failure
# counts as skipped, and what is wrong with the guest as a whole as one more failure.
#
# Exit status: 0 all is well, 1 something failed, 2 the exceptions cannot be read, 3 the guest gave no
# result line.

set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
	echo "usage: judge.sh KERNEL [EXCEPTIONS-FILE] <RESULT" >&2
	exit 2
fi
exceptions=${2:-$(dirname "$0")/exceptions.txt}

# In the C locale, bytes are characters, and no test can write one that awk stumbles over.
LC_ALL=C exec awk -v kernel="$1" -v exceptions="$exceptions" '
# "" makes awk compare strings: as numbers, 5.1 and 5.10 are equal.
function exceptions_read(    got, line, field, n)
{
	while ((got = (getline line < exceptions)) > 0) {
		n = split(line, field)
		if (n == 0 || line ~ /^[ \t]*#/)
			continue
		if (n < 3) {
			print "judge: " exceptions ": not TEST KERNEL REASON: " line > "/dev/stderr"
			return 0
		}
		if (field[2] "" != kernel "")
			continue
		sub(/^[ \t]*[^ \t]+[ \t]+[^ \t]+[ \t]+/, "", line)
		excepted[field[1]] = line
	}
	if (got < 0)
		print "judge: cannot read " exceptions > "/dev/stderr"
	return got == 0
}

# The name of a test ends where its reason begins.
function name_of(line,    end)
{
	end = index(line, " - ")
	return end ? substr(line, 1, end - 1) : line
}

# What is wrong with the guest, not with one of its tests.
function guest_fails(why)
{
	print "not ok guest - " why
	failed++
}

# 2 to the power of 5, 7 and 9: bad page, oops, warning. Slow emulation may add a soft lockup.
function taint_is_new(before, after,    bit)
{
	for (bit = 32; bit <= 512; bit *= 4)
		if (int(after / bit) % 2 > int(before / bit) % 2)
			return 1
	return 0
}

BEGIN {
	if (!exceptions_read()) {
		broken = 1
		exit
	}
}

{
	gsub(/\r/, "")
	gsub(/[\001-\010\013-\037\177]/, "?")
}

/^$/ { next }

# Only init writes the last line; a result line that something follows is not from there.
{ has_result = 0 }

/^VM-TAINT [0-9]+ [0-9]+$/ {
	tainted = taint_is_new($2, $3)
	next
}

/^VM-RESULT [0-9]+$/ {
	status = $2
	has_result = 1
	next
}

/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
	closing = $0
	next
}

/^ok / {
	name = name_of(substr($0, 4))
	seen[name] = 1
	said_ok++
	if (name in excepted) {
		print "not ok " name " - exception no longer needed (" excepted[name] ")"
		failed++
		next
	}
	passed++
}

/^not ok / {
	name = name_of(substr($0, 8))
	seen[name] = 1
	said_not_ok++
	if (name in excepted) {
		print "expected " name " - " excepted[name] " (" substr($0, 8) ")"
		skipped++
		next
	}
	failed++
}

/^skip / {
	seen[name_of(substr($0, 6))] = 1
	said_skip++
	skipped++
}

{ print }

END {
	if (broken)
		exit 2

	said = said_ok + 0 " passed, " said_not_ok + 0 " failed, " said_skip + 0 " skipped"
	if (!has_result)
		guest_fails("no result line")
	else if (closing == "")
		guest_fails("no closing line")
	else if (closing != said)
		guest_fails("its closing line says " closing ", its tests say " said)
	else if (said_ok + said_not_ok + said_skip == 0)
		guest_fails("no test ran")
	if (has_result && status != 0 && !(status == 1 && said_not_ok))
		guest_fails("the command ended with status " status)
	if (tainted)
		guest_fails("the kernel warned or oopsed, see its console")

	# Not a failure: a run may be of a few tests only.
	for (name in excepted)
		if (has_result && !(name in seen))
			print "note: the exception for " name " met no test of that name"

	print passed + 0 " passed, " failed + 0 " failed, " skipped + 0 " skipped"
	exit !has_result ? 3 : failed > 0
}'
