#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh [NAME...]: the tests with real programs; see run.py.
exec "${SYSTEM_PYTHON:-/usr/bin/python3}" "$(dirname "$0")/run.py" "$@"
