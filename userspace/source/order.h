/* SPDX-License-Identifier: MIT */
/*
 * Puts events into the order of time. Records of one ring are nearly in order already; those of two
 * rings and those made by user space are not. What is younger than the watermark is kept back, since
 * an older record may still be on its way; what comes later than that is passed on all the same.
 */
#ifndef AGENTSIGHT_SOURCE_ORDER_H
#define AGENTSIGHT_SOURCE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/event.h"
#include "source/ring.h"

/* A producer is not held up for longer between reading the clock and reserving its record. */
#define ORDER_WINDOW_NS 500000
/*
 * A producer that has to wait for its processor in the middle of a record hides what follows in its ring. Events
 * of the other ring that are younger than this wait for it, unless there is a batch of them: time slices are of
 * some milliseconds.
 */
#define ORDER_HOLD_NS 50000000

struct order;

struct order_counts {
	uint64_t bad;                 /* records that the decoder refused */
	uint64_t unheld[AS_EV_COUNT]; /* there was no memory for them */
};

int order_new(struct emitter *out, struct order **ret);
void order_free(struct order *o);

/* Borrows @ring; at most two. @size is that of the ring in bytes. */
void order_add_ring(struct order *o, struct ring *ring, size_t size);

/* Where sources in user space send their events; they are copied. */
struct emitter *order_input(struct order *o);

/*
 * Passes on, in order, everything older than @watermark_ns (boot clock; UINT64_MAX: whatever there is). Returns up to
 * where it came, which is less while a record is waited for.
 */
uint64_t order_drain(struct order *o, uint64_t watermark_ns);

/* Nothing is waiting: neither in the rings nor here. */
bool order_idle(const struct order *o);

struct order_counts order_counts(const struct order *o);

#endif
