#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fetch-kernel.sh [--refresh] NAME: print the path of the kernel image that kernels.txt calls NAME.
# Beside vmlinuz_VERSION lies modules_VERSION, the few modules that tests need, ready to be put
# behind an initramfs: what the kernel has of them as files is in /modules there.
#
# The image comes from a Debian package and is kept in a cache outside the tree. How packages
# are looked up is told in ../apt.sh.
#
# Exit status: 0 with the path on stdout, 77 when the kernel cannot be had, and 1 or 2 when something
# is wrong on this side. The last line on stderr is then the reason.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${AGENTSIGHT_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/agentsight/vm}
# A kernel looked up less than this many days ago is used without asking the mirror again.
fresh_days=7

# shellcheck source=tests/apt.sh
. "$here/../apt.sh"

die()
{
	status=$1
	shift
	echo "fetch-kernel: $*" >&2
	exit "$status"
}

# modules_of IMAGE: the file with its modules.
modules_of()
{
	echo "${1%/*}/modules_${1##*/vmlinuz_}"
}

# have_kept: the image kept from an earlier run, in $image.
have_kept()
{
	[ -s "$store/current" ] || return 1
	image=$store/$(cat "$store/current")
	[ -s "$image" ]
}

# give_up WHY: an outdated kernel is better than none.
give_up()
{
	if have_kept; then
		echo "fetch-kernel: $name: $1; using the kept ${image##*/}" >&2
		echo "$image"
		exit 0
	fi
	die 77 "$name: $1"
}

# package_depends PACKAGE PREFIX: the first dependency of PACKAGE's candidate whose name has PREFIX.
package_depends()
{
	apt-cache show --no-all-versions "$1" 2>/dev/null |
		sed -n '/^Depends: /{s/^Depends: //;s/[,|]/\n/g;p;q;}' |
		sed -n "s/^ *\($2[^ ]*\).*/\1/p" | head -n 1
}

# package_of_series SERIES: the newest image of a series that a suite keeps beside its current one.
package_of_series()
{
	apt-cache pkgnames "linux-image-$1." | grep -E '^linux-image-[0-9.]+[^-]*-cloud-amd64$' |
		sort -V | tail -n 1
}

package_version()
{
	apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n '/^Version: /{s/^Version: //;p;q;}'
}

# image_unpack DEB FILE: the one kernel image in DEB, wherever this release keeps it.
image_unpack()
{
	dpkg-deb --fsys-tarfile "$1" >"$tmp/fs.tar" || return 1
	member=$(tar -tf "$tmp/fs.tar" | grep -E '/vmlinuz(-[^/]*)?$' | head -n 1) || return 1
	tar -xOf "$tmp/fs.tar" "$member" >"$2" && [ -s "$2" ]
}

# modules_list DEB: TLS for sockets, and its cipher. A kernel without TLS gives what it has.
modules_list()
{
	dpkg-deb --fsys-tarfile "$1" >"$tmp/fs.tar" || return 1
	tar -tf "$tmp/fs.tar" |
		grep -E '/(ctr|gf128mul|ghash-generic|crypto_null|gcm|tls)\.ko(\.xz|\.zst)?$' || :
}

# modules_unpack DEB FILE: without DEB, none: what needs them is skipped.
modules_unpack()
{
	root=$tmp/root
	mkdir -p "$root/modules"
	: >"$tmp/members"
	[ -z "$1" ] || modules_list "$1" >"$tmp/members" || return 1
	while read -r member; do
		case $member in
		*.xz) unpack='xz -dc' ;;
		*.zst) unpack='zstd -dcq' ;;
		*) unpack='cat' ;;
		esac
		to=${member##*/}
		# shellcheck disable=SC2086 # a command and its options
		tar -xOf "$tmp/fs.tar" "$member" | $unpack >"$root/modules/${to%.ko*}.ko" || return 1
	done <"$tmp/members"
	(cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0) >"$tmp/cpio" || return 1
	# behind another archive a bare one would have to begin at a multiple of 4 bytes
	gzip -9n <"$tmp/cpio" >"$2"
}

refresh=
if [ "${1:-}" = --refresh ]; then
	refresh=1
	shift
fi
[ $# -eq 1 ] || die 2 "usage: fetch-kernel.sh [--refresh] NAME"
name=$1

# "" makes awk compare strings: as numbers, 5.1 and 5.10 are equal.
line=$(awk -v name="$name" '$1 "" == name "" { print $2, $3; exit }' "$here/kernels.txt")
[ -n "$line" ] || die 2 "no kernel '$name' in tests/vm/kernels.txt"
suite=${line% *}
meta=${line#* }

store=$cache/$suite/$meta
mkdir -p "$store" || die 1 "cannot make the cache directory $store"

# Two runs may want the same kernel; the second one finds it in the cache.
exec 9>"$store/lock"
flock 9 || die 1 "cannot lock $store"

if [ -z "$refresh" ] && have_kept && [ -s "$(modules_of "$image")" ] &&
	[ -n "$(find "$store/current" -mtime "-$fresh_days")" ]; then
	echo "$image"
	exit 0
fi

tmp=$(mktemp -d "${TMPDIR:-/tmp}/fetch-kernel.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
why=$(apt_missing)
[ -z "$why" ] || give_up "$why"
apt_state_make "$tmp" "$suite"

echo "fetch-kernel: $name: reading the index of $suite" >&2
apt_run apt-get -q -y --error-on=any update ||
	give_up "cannot read the index of $suite: $(cat "$tmp/why")"

case $meta in
linux-*) package=$(package_depends "$meta" linux-image-) ;;
*) package=$(package_of_series "$meta") ;;
esac
[ -n "$package" ] || give_up "$suite has no package for $meta"
# 6.19 and later: the image proper and the modules are in packages that the linux-image one depends on.
binary=$(package_depends "$package" linux-binary-)
modules=$(package_depends "$package" linux-modules-)
package=${binary:-$package}
modules=${modules:-$package}
version=$(package_version "$package")
[ -n "$version" ] || give_up "$suite no longer has $package"

# Of an old series the mirror may keep the image alone.
[ "$(package_version "$modules")" = "$version" ] || modules=

file=vmlinuz_${package#linux-*-}_$(echo "$version" | tr -c 'A-Za-z0-9.+~\n-' _)
if [ -s "$store/$file" ] && [ -s "$(modules_of "$store/$file")" ]; then
	echo "$file" >"$store/current"
	echo "$store/$file"
	exit 0
fi

echo "fetch-kernel: $name: downloading $package $version" >&2
(cd "$tmp/cache" && apt_run apt-get -q -y download "$package=$version" ${modules:+"$modules=$version"}) ||
	give_up "cannot download $package: $(cat "$tmp/why")"
image_unpack "$tmp/cache/$package"_*.deb "$tmp/vmlinuz" || die 1 "$name: no kernel image in $package"
modules_deb=
[ -z "$modules" ] || modules_deb=$(ls "$tmp/cache/$modules"_*.deb)
modules_unpack "$modules_deb" "$tmp/modules" || die 1 "$name: cannot unpack $modules"

# The move across file systems is not atomic; the one within the cache is.
cp "$tmp/modules" "$store/.new"
mv "$store/.new" "$(modules_of "$store/$file")"
cp "$tmp/vmlinuz" "$store/.new"
mv "$store/.new" "$store/$file"
echo "$file" >"$store/.new"
mv "$store/.new" "$store/current"
for old in "$store"/vmlinuz_* "$store"/modules_*; do
	[ "$old" = "$store/$file" ] || [ "$old" = "$(modules_of "$store/$file")" ] || rm -f "$old"
done
echo "$store/$file"
