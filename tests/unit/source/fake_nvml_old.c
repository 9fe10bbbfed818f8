/* SPDX-License-Identifier: MIT */
#define FAKE_OLD
#include "fake_nvml.c"
