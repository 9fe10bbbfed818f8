/* SPDX-License-Identifier: MIT */
/* The tables that AS_*_FIELDS name in their last column, as names_<table>. */
#ifndef AGENTSIGHT_EVENT_NAMES_H
#define AGENTSIGHT_EVENT_NAMES_H

#include "event/schema.h"

extern const struct name_table names_protocol;
extern const struct name_table names_role;
extern const struct name_table names_open_flags;
extern const struct name_table names_file_flush;
extern const struct name_table names_tls_direction;
extern const struct name_table names_tls_function;
extern const struct name_table names_net_function;
extern const struct name_table names_tls_version;
extern const struct name_table names_alert_state;
extern const struct name_table names_sample_reason;
extern const struct name_table names_thread_state;
extern const struct name_table names_sched_policy;
extern const struct name_table names_capability;

#endif
