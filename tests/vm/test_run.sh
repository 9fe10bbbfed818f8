#!/bin/bash
# SPDX-License-Identifier: MIT
#
# test_run.sh: run.sh with kernels that cannot be had, and guests that are no more than what they say.

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test_run.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
. "$here/../verdict.sh"

vm=$tmp/tests/vm
mkdir -p "$vm" "$tmp/bin"
cp "$here/run.sh" "$here/judge.sh" "$vm/"
printf '%s suite package\n' here lost gone broken >"$vm/kernels.txt"
: >"$vm/exceptions.txt"

program()
{
	cat >"$1"
	chmod 755 "$1"
}

program "$vm/fetch-kernel.sh" <<'END'
#!/bin/sh
case $1 in
here | broken) echo "/vmlinuz_$1" ;;
*) echo "fetch-kernel: $1: no mirror answers" >&2; exit 77 ;;
esac
END
program "$vm/make-initramfs.sh" <<'END'
#!/bin/sh
echo root >"$1"
END
program "$tmp/bin/qemu-system-x86_64" <<'END'
#!/bin/sh
case $* in
*AGENTSIGHT_VM=broken*) printf 'not ok a - why\n0 passed, 1 failed, 0 skipped\nVM-RESULT 1\n' >result ;;
*) printf 'ok a\n1 passed, 0 failed, 0 skipped\nVM-TAINT 0 0\nVM-RESULT 0\n' >result ;;
esac
END

# expect NAME STATUS LINE KERNEL...: the line is one that is to be there
expect()
{
	local name=$1 want=$2 line=$3 status kernel why= options=()

	shift 3
	for kernel; do
		options+=(--kernel "$kernel")
	done
	PATH=$tmp/bin:$PATH "$vm/run.sh" "${options[@]}" -- file >"$tmp/said" 2>&1
	status=$?
	((status == want)) && grep -qxF -e "$line" "$tmp/said" || why="status $status, not $want, or no line '$line'"
	verdict "$name" "$why" "$tmp/said"
}

expect guests-that-pass-pass 0 '1 passed, 0 failed, 0 skipped' here
expect guests-that-fail-fail 1 '1 passed, 1 failed, 0 skipped' here broken
expect a-kernel-that-cannot-be-had-is-skipped 0 '1 passed, 0 failed, 1 skipped' here gone
expect and-named 0 'run.sh: gone was not tested: fetch-kernel: gone: no mirror answers' here gone
expect no-kernel-at-all-is-no-success 77 '0 passed, 0 failed, 2 skipped' lost gone
expect and-said 77 'run.sh: nothing was tested' lost gone
expect a-failure-is-one-beside-skips 1 '0 passed, 1 failed, 1 skipped' broken gone

closing
