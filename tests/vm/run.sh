#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh: run the live tests in an emulated guest of each kernel in kernels.txt.
#
# A guest is presumed to have failed until its last line says otherwise: silence, a panic and a
# time-out are failures. A kernel that cannot be had is a skip. Needs no privilege and no KVM.
#
# Exit status: 0 all is well, 1 something failed, 2 it could not begin, 77 nothing failed, but nothing was tested.

set -euo pipefail

vm=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$vm/../.." && pwd)

usage()
{
	cat <<-END
		usage: tests/vm/run.sh [OPTION]... [-- FILE...]

		  --kernel NAME      a kernel from kernels.txt; may be given again (default: all)
		  --timeout S        seconds that a guest may take (default: 300)
		  --jobs N           guests side by side, 1 or 2 (default: 2)
		  --command TEXT     shell text that the guest runs (default: /tests/live/run.sh)
		  --cpus N           processors of a guest; all but one are off until they are switched on (default: 1)
		  --append TEXT      more kernel parameters (lsm=..., tsc=unstable)
		  --exceptions FILE  known failures (default: tests/vm/exceptions.txt)

		FILE is HOST:GUEST, or one path for both. By default the guest's root looks like the
		repository's: /agentsight, /tests/live, /out/tests/live, /out/tests/workloads.
	END
}

die()
{
	echo "run.sh: $*" >&2
	exit 2
}

# kernel_names: those of kernels.txt, in its order.
kernel_names()
{
	awk 'NF && $1 !~ /^#/ { print $1 }' "$vm/kernels.txt"
}

kernel_known()
{
	kernel_names | grep -qxF -e "$1"
}

# exceptions_check: a misspelt kernel would make an exception that is never seen.
exceptions_check()
{
	local name

	[[ -r $exceptions ]] || die "cannot read $exceptions"
	while read -r name; do
		kernel_known "$name" || die "$exceptions: no kernel '$name' in kernels.txt"
	done < <(awk 'NF && $1 !~ /^#/ { print $2 }' "$exceptions")
}

# files_default: what a build leaves, the static program before the dynamic one.
files_default()
{
	local path

	if [[ -x $top/out/static/agentsight ]]; then
		files=("$top/out/static/agentsight:/agentsight")
	elif [[ -x $top/agentsight ]]; then
		files=("$top/agentsight:/agentsight")
	else
		die "nothing to test: there is no out/static/agentsight and no agentsight (run make)"
	fi
	for path in tests/live out/tests/live out/tests/workloads; do
		[[ ! -d $top/$path ]] || files+=("$top/$path:/$path")
	done
}

# guest_initramfs: the files of all guests, and behind them the modules of this kernel; in $initramfs.
guest_initramfs()
{
	local modules=${image%/*}/modules_${image##*/vmlinuz_}

	initramfs=$work/initramfs
	[[ -s $modules ]] || return 0
	initramfs=$PWD/initramfs
	cat "$work/initramfs" "$modules" >"$initramfs"
}

# guest_boot: one boot of $image in the current directory; $took in tenths of a second, $rc of timeout.
#
# -cx16: QEMU 7.2 emulates cmpxchg16b wrongly, which kills 6.12 after a while.
# thread=single: with a thread for each processor the emulator races with kernels that patch their own code.
# maxcpus=1: further processors are there, but off until a test wants them.
# ACPI stays on, or the guest cannot switch itself off.
#
# Seen once in some 70 boots, cause unknown: the time stamps of a 5.10 guest jumped 40 s ahead, with "TSC
# found unstable" on its console. "--append tsc=unstable" makes guests use the HPET instead; a reading of
# the clock then costs 1 to 2 us, not 0.1 to 0.3.
guest_boot()
{
	local start=${EPOCHREALTIME//[.,]/}

	timeout -k 5 "$timeout_s" qemu-system-x86_64 \
		-accel tcg,thread=single -cpu max,-cx16 -smp "$cpus" -m 1024 -nodefaults -display none -no-reboot -rtc base=utc \
		-serial file:console -serial file:result -kernel "$image" -initrd "$initramfs" \
		-append "console=ttyS0 quiet panic=-1 maxcpus=1 mitigations=off random.trust_cpu=on$append AGENTSIGHT_VM=$name" \
		</dev/null >qemu 2>&1 &
	guest=$!
	rc=0
	wait "$guest" || rc=$?
	guest=
	took=$(((${EPOCHREALTIME//[.,]/} - start) / 100000))
}

# guest_end_tell: why there was no result.
guest_end_tell()
{
	case $rc in
	0) grep -q 'Kernel panic' console && echo 'the kernel panicked' || echo 'the guest stopped by itself' ;;
	124 | 137) echo "timed out after $timeout_s s" ;;
	*) echo "qemu ended with status $rc" ;;
	esac
}

# guest_console_tell: from the kernel's first complaint on, or the end if it had none.
guest_console_tell()
{
	local from

	from=$(grep -n -m 1 -E 'Kernel panic|BUG:|WARNING:|Oops|double fault' console | cut -d : -f 1) || true
	tail -n "${from:++}${from:-20}" console | head -n 40 | tr -d '\r' |
		LC_ALL=C tr -c '[:print:]\n\t' '?' | sed 's/^/console: /'
	head -n 5 qemu | sed 's/^/qemu: /'
}

# guest_try: boot and judge, once more if there was no result at all.
guest_try()
{
	local verdict=0

	guest_boot
	"$vm/judge.sh" "$name" "$exceptions" <result >judged || verdict=$?
	if ((verdict == 3)); then
		echo "no result line, trying once more: $(guest_end_tell)"
		mv console console.1
		mv result result.1
		touch console result
		verdict=0
		guest_boot
		"$vm/judge.sh" "$name" "$exceptions" <result >judged || verdict=$?
	fi

	sed '$d' judged
	tail -n 1 judged >closing
	((verdict != 3)) || guest_end_tell
	((verdict == 0)) || guest_console_tell
	echo "$(cat closing) in $((took / 10)).$((took % 10)) s"
	return "$verdict"
}

# guest_report: everything about one kernel on stdout, its closing line in the file "closing".
guest_report()
{
	local status=0

	image=$("$vm/fetch-kernel.sh" "$name" 2>fetch) || status=$?
	if ((status == 77)); then
		tail -n 1 fetch >skipped
		echo "skip the whole kernel - $(cat skipped)"
		echo '0 passed, 0 failed, 1 skipped' >closing
		return
	elif ((status)); then
		echo "not ok guest - $(tail -n 1 fetch)"
		echo '0 passed, 1 failed, 0 skipped' >closing
		return
	fi
	echo "run.sh: $name: booting ${image##*/}" >&2
	echo "${image##*/}"
	guest_initramfs
	guest_try && return
	echo "what is left of it is in ${PWD#"$top"/}"
	echo "to run it again: $rerun --kernel $name$rerun_files"
}

# worker: one kernel, in a process and a directory of its own; tells all at once when it is done.
worker()
{
	name=$1
	guest=
	trap '[[ -z $guest ]] || kill "$guest"; exit 1' TERM
	trap - EXIT
	cd "$work/$name"
	touch console result qemu
	guest_report >report
	(
		flock 9
		sed "s/^/$name: /" report
	) 9>"$work/lock"
}

# Which kernels were skipped and why, and the sum of the closing lines; a worker that left none has failed.
summary_print()
{
	for name in "${kernels[@]}"; do
		[[ ! -s $work/$name/skipped ]] || echo "run.sh: $name was not tested: $(cat "$work/$name/skipped")" >&2
	done
	for name in "${kernels[@]}"; do
		grep -xE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped.*' "$work/$name/closing" 2>/dev/null ||
			echo '0 passed, 1 failed, 0 skipped'
	done | awk '{ passed += $1; failed += $3; skipped += $5 }
		END {
			printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
			exit failed ? 1 : passed ? 0 : 77
		}'
}

# shellcheck disable=SC2317 # called by the trap
stop()
{
	local pid

	for pid in $(jobs -rp); do
		kill "$pid" 2>/dev/null || true
	done
	wait
}

kernels=() files=() append=
timeout_s=300 jobs=2 cpus=1 command=/tests/live/run.sh exceptions=$vm/exceptions.txt
rerun=tests/vm/run.sh rerun_files=
while (($#)); do
	case $1 in
	--help)
		usage
		exit 0
		;;
	--kernel | --timeout | --jobs | --cpus | --command | --append | --exceptions)
		(($# >= 2)) || die "$1 needs a value"
		;;&
	--kernel) kernels+=("$2") ;;
	--timeout) timeout_s=$2 ;;
	--jobs) jobs=$2 ;;
	--cpus) cpus=$2 ;;
	--command) command=$2 ;;
	--append) append+=" $2" ;;
	--exceptions) exceptions=$(realpath -m -- "$2") ;;
	--)
		shift
		files=("$@")
		break
		;;
	*) die "unknown argument '$1' (see --help)" ;;
	esac
	[[ $1 == --kernel ]] || rerun+=" $1 ${2@Q}"
	shift 2
done

[[ $timeout_s =~ ^[1-9][0-9]{0,5}$ ]] || die "--timeout needs a number of seconds, not '$timeout_s'"
[[ $jobs == [12] ]] || die "--jobs needs 1 or 2, not '$jobs'"
[[ $cpus == [1-8] ]] || die "--cpus needs a number up to 8, not '$cpus'"
exceptions_check
if ((${#kernels[@]} == 0)); then
	mapfile -t kernels < <(kernel_names)
fi
for name in "${kernels[@]}"; do
	kernel_known "$name" || die "no kernel '$name' in tests/vm/kernels.txt"
done
mapfile -t kernels < <(printf '%s\n' "${kernels[@]}" | awk '!seen[$0 ""]++')
command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is not installed (package qemu-system-x86)"
if ((${#files[@]})); then
	rerun_files=" -- ${files[*]@Q}"
else
	files_default
fi

mkdir -p "$top/out/tests/vm"
work=$(mktemp -d "$top/out/tests/vm/run.XXXXXX")
trap stop EXIT
trap 'stop; rm -rf "$work"; exit 1' HUP INT TERM
mkdir "${kernels[@]/#/$work/}"
printf '%s\n' "$command" >"$work/command"
"$vm/make-initramfs.sh" "$work/initramfs" "$work/command" "${files[@]}" || {
	rm -rf "$work"
	exit 2
}

running=0
for name in "${kernels[@]}"; do
	if ((running == jobs)); then
		wait -n || true
		running=$((running - 1))
	fi
	worker "$name" &
	running=$((running + 1))
done
wait

status=0
summary_print || status=$?
((status != 77)) || echo 'run.sh: nothing was tested' >&2
((status == 1)) || rm -rf "$work"
exit "$status"
