# SPDX-License-Identifier: MIT
#
# verdict.sh: what tests in shell say of themselves; to be sourced, by sh and bash.

passed=0
failed=0

# verdict NAME WHY FILE...: NAME passed; where WHY is not empty it failed, and FILE... is what there is to see.
verdict()
{
	if [ -z "$2" ]; then
		echo "ok $1"
		passed=$((passed + 1))
		return
	fi
	echo "not ok $1 - $2"
	failed=$((failed + 1))
	shift 2
	sed 's/^/    /' "$@" >&2
}

# The closing line, and the status to end with.
closing()
{
	echo "$passed passed, $failed failed, 0 skipped"
	[ "$failed" -eq 0 ]
}
