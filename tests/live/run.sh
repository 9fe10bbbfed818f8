#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh [NAME]...: the live tests in a guest whose root looks like the repository. See tests/vm/run.sh.

cd "$(dirname "$0")/../.." || exit 2
mkdir -p /tmp
exec out/tests/live/livetest "$@"
