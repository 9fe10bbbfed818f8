/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What all families share. Every skeleton declares these maps; user space creates them once and
 * gives the descriptors to the others before loading (userspace/source/bpf.c).
 */
#ifndef AGENTSIGHT_BPF_MAPS_H
#define AGENTSIGHT_BPF_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <agentsight/control.h>

const volatile struct as_config cfg = {};

/* Lifecycle, files and connections. Sizes are set by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring_events SEC(".maps");

/* Payloads have a ring of their own, so that a flood of bodies never evicts an exec. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring_data SEC(".maps");

/*
 * A block of AS_EV_COUNT for each processor, whose number user space sets. Mapped there and not a per-CPU map: that
 * is read with system calls, and while one holds an element no classic tracepoint runs on its processor.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, AS_EV_COUNT);
	__type(key, __u32);
	__type(value, struct as_count);
} ledger SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct as_proc);
} procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct as_name);
	__type(value, __u32);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct as_shared);
} shared SEC(".maps");

#endif
