# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# apt.sh: packages of a Debian suite, whichever the machine itself runs. To be sourced.
#
# They are looked up with an apt state of our own, made for the occasion: one source naming one suite, an empty
# status file. The system's apt is only asked for its proxy settings and for its Debian mirror.
# apt checks the signature of the index and the hash of the package; nothing here turns that off.

# mirror_find: the first Debian archive among the machine's own apt sources.
mirror_find()
{
	if [ -n "${AGENTSIGHT_VM_MIRROR:-}" ]; then
		echo "$AGENTSIGHT_VM_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt-get expands this one.
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		sed -n '/\/debian\/*$/ { p; q; }'
}

# apt_missing: why packages cannot be had here; nothing when they can.
apt_missing()
{
	for tool in apt-get apt-cache apt-config dpkg-deb; do
		command -v "$tool" >/dev/null && continue
		echo "$tool is not installed"
		return
	done
	[ -n "$(mirror_find)" ] ||
		echo "no Debian mirror among this machine's apt sources (set AGENTSIGHT_VM_MIRROR)"
}

# apt_state_make DIRECTORY SUITE [deb-src]: a private apt below DIRECTORY. Only Acquire:: is taken over (proxies, retries,
# time-outs), so that hooks of the system's configuration do not run.
apt_state_make()
{
	apt_dir=$1
	# apt fetches as a user of its own, who has to get in here.
	chmod 711 "$apt_dir"
	mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial" "$apt_dir/empty"
	: >"$apt_dir/status"
	apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	apt_signed=
	[ ! -r "$apt_keyring" ] || apt_signed=" signed-by=$apt_keyring"
	apt_mirror=$(mirror_find)
	echo "${3:-deb} [arch=amd64$apt_signed] $apt_mirror $2 main" >"$apt_dir/sources.list"
	{
		apt-config dump Acquire | grep -v '^Acquire::IndexTargets'
		cat <<-CONF
			Acquire::AllowInsecureRepositories "false";
			Acquire::AllowWeakRepositories "false";
			Acquire::AllowDowngradeToInsecureRepositories "false";
			Acquire::Languages "none";
			APT::Get::AllowUnauthenticated "false";
			APT::Architecture "amd64";
			APT::Architectures { "amd64"; };
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "$apt_dir/empty";
			Dir::Etc::sourcelist "$apt_dir/sources.list";
			Dir::Etc::sourceparts "$apt_dir/empty";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "$apt_dir/empty";
			Dir::State "$apt_dir";
			Dir::State::lists "$apt_dir/lists";
			Dir::State::status "$apt_dir/status";
			Dir::State::extended_states "$apt_dir/extended_states";
			Dir::Cache "$apt_dir/cache";
			Dir::Cache::archives "$apt_dir/cache/archives";
			Dir::Log "$apt_dir";
		CONF
	} >"$apt_dir/apt.conf"
	export APT_CONFIG="$apt_dir/apt.conf"
}

# apt_run COMMAND…: quiet unless it fails; then the first complaint is in the state's file "why".
apt_run()
{
	"$@" >"$apt_dir/log" 2>&1 && return 0
	cat "$apt_dir/log" >&2
	sed -n '/^[EW]: /{s/^...//;p;q;}' "$apt_dir/log" >"$apt_dir/why"
	[ -s "$apt_dir/why" ] || echo "$1 failed" >"$apt_dir/why"
	return 1
}
