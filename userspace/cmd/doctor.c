/* SPDX-License-Identifier: MIT */
/* Attaches everything once and says what would be seen, how, at which cost, and what is missing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/report.h"
#include "pipeline/sources.h"
#include "pipeline/trust.h"
#include "source/bpf.h"

/* Columns as wide as what stands in them. */
struct painter {
	bool colour;
	int what, how;
};

static const struct {
	const char *word;
	const char *mark;
	const char *colour;
} states[] = {
	[CAPABILITY_ATTACHED] = {"attached", "ok", "\033[32m"},
	[CAPABILITY_DEGRADED] = {"degraded", "!", "\033[33m"},
	[CAPABILITY_MISSING] = {"missing", "-", "\033[31m"},
};

static void print_row(const struct painter *p, enum capability_state state, const char *what,
		      const char *how, const char *reason)
{
	/* nothing stands behind the last column that says something */
	int how_width = *reason ? p->how : 0;
	int what_width = how_width || (how && *how) ? p->what : 0;

	printf("  %s%-2s%s %-*s", p->colour ? states[state].colour : "", states[state].mark,
	       p->colour ? "\033[0m" : "", what_width, log_safe(what));
	if (what_width)
		printf("  %-*s", how_width, how ? how : "");
	if (*reason)
		printf("  %s", log_safe(reason));
	putchar('\n');
}

static void fit_columns(struct painter *p, const struct capability *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		p->what = MAX(p->what, (int)strlen(all[i].hook));
		p->how = MAX(p->how, all[i].mechanism ? (int)strlen(all[i].mechanism) : 0);
	}
}

/* ---- what is true of the machine, whoever asks ---- */

static bool read_line(const char *path, char *line, size_t cap)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");

	if (!f || !fgets(line, cap, f))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static void check_btf(const struct painter *p)
{
	bool there = access("/sys/kernel/btf/vmlinux", R_OK) == 0;

	print_row(p, there ? CAPABILITY_ATTACHED : CAPABILITY_MISSING, "kernel type information",
		  there ? "/sys/kernel/btf/vmlinux" : "",
		  there ? "" : "needs a kernel built with CONFIG_DEBUG_INFO_BTF (5.10 or newer)");
}

static void check_pids(const struct painter *p)
{
	bool ours = bpf_pids_are_ours();

	print_row(p, ours ? CAPABILITY_ATTACHED : CAPABILITY_MISSING, "PID namespace",
		  ours ? "the host's" : "",
		  ours ? "" : "the container's own: start it with the host's (--pid=host)");
}

static void check_lockdown(const struct painter *p)
{
	char line[128];
	bool confidential;

	if (!read_line("/sys/kernel/security/lockdown", line, sizeof(line)))
		return;
	confidential = strstr(line, "[confidentiality]");
	print_row(p, confidential ? CAPABILITY_MISSING : CAPABILITY_ATTACHED, "kernel lockdown",
		  line,
		  confidential ? "BPF programs may read nothing: boot without "
				 "lockdown=confidentiality"
			       : "");
}

static void check_privilege(const struct painter *p, bool root)
{
	if (root)
		print_row(p, CAPABILITY_ATTACHED, "privilege", "root", "");
	else
		print_row(p, CAPABILITY_MISSING, "privilege", "",
			  "not root: run 'sudo agentsight doctor'; 'agentsight system', 'run' and "
			  "'attach' work for your own processes");
}

static void print_machine(const struct painter *p, bool root)
{
	struct utsname uts;

	uname(&uts);
	printf("machine\n");
	print_row(p, CAPABILITY_ATTACHED, "kernel", uts.release, "");
	check_btf(p);
	check_pids(p);
	check_lockdown(p);
	check_privilege(p, root);
}

/* ---- what the families say ---- */

static const struct {
	const char *family;
	const char *title;
} families[] = {
	{"proc", "processes (process, record, run, attach)"},
	{"file", "files (files, trace --files, record)"},
	{"net", "network (network, trace --network, record, run, attach)"},
	{"tls", "TLS plaintext (ssl, trace --ssl, record)"},
	{"system", "samples (system, trace --system, record, run, attach)"},
	{"syscalls", "system calls (--syscalls)"},
	{"offcpu", "waits (--offcpu)"},
	{"trust", "what is left of privileges while it runs"},
};

static void print_families(const struct painter *p, const struct capability *all, size_t n)
{
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		bool titled = false;

		for (size_t i = 0; i < n; i++) {
			if (strcmp(all[i].family, families[f].family))
				continue;
			if (!titled)
				printf("\n%s\n", families[f].title);
			titled = true;
			print_row(p, all[i].state, all[i].hook, all[i].mechanism, all[i].reason);
		}
	}
}

/* No kernel program can be loaded: what there is nevertheless. */
static void print_without_kernel(const struct painter *p, bool root)
{
	printf("\nsamples (system, run, attach)\n");
	print_row(p, CAPABILITY_DEGRADED, root ? "processes" : "your own processes", "/proc",
		  "nothing between two looks, and of a child only what its parent waited for");
}

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, "\"%s\":", key);
	json_string(b, text ? text : "", text ? strlen(text) : 0);
}

static int print_json(const struct capability *all, size_t n, struct err *e)
{
	_cleanup_(buf_done) struct buf b = {};

	for (size_t i = 0; i < n; i++) {
		buf_add_char(&b, '{');
		put_text(&b, "family", all[i].family);
		buf_add_char(&b, ',');
		put_text(&b, "hook", all[i].hook);
		buf_add_char(&b, ',');
		put_text(&b, "state", states[all[i].state].word);
		buf_add_char(&b, ',');
		put_text(&b, "mechanism", all[i].mechanism);
		buf_add_char(&b, ',');
		put_text(&b, "reason", all[i].reason);
		buf_add_lit(&b, "}\n");
	}
	if (b.failed)
		return err_set(e, -ENOMEM, "not enough memory for all of it");
	fwrite(b.data, 1, b.len, stdout);
	return 0;
}

static bool complete(const struct capability *all, size_t n)
{
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		/* samples have /proc to fall back on; without privileges nothing needs to be given up */
		bool works = !strcmp(families[f].family, "system") ||
			     !strcmp(families[f].family, "trust");

		for (size_t i = 0; i < n; i++)
			works |= !strcmp(all[i].family, families[f].family) &&
				 all[i].state != CAPABILITY_MISSING;
		if (!works)
			return false;
	}
	return true;
}

static void discard(struct emitter *self, const struct event *ev)
{
}

static void no_breath(void *context)
{
}

int cmd_doctor(const struct command *c, struct options *o)
{
	struct painter p = {o->session.colour, 24, 24};
	struct emitter nowhere = {discard};
	struct proc_table *procs = NULL;
	const struct capability *all = NULL;
	struct sources *sources = NULL;
	struct err e = {};
	bool root = geteuid() == 0; /* before it is given up, as recordings do */
	uint64_t refused = 0;
	size_t n = 0;
	int r, status, shown;

	o->session.sources =
		SOURCE_PROCESS | SOURCE_FILES | SOURCE_NETWORK | SOURCE_TLS | SOURCE_SYSTEM;
	o->session.each_call = true;
	o->session.examine = true;
	o->session.syscalls = true;
	o->session.offcpu = true;

	r = proc_table_new(&procs);
	if (r >= 0)
		r = sources_open(&o->session, procs, clock_boot_ns(), &sources, &e);
	if (r >= 0)
		r = sources_attach(sources, &nowhere, no_breath, NULL, &e);
	if (r >= 0) {
		while (sources_poll_ms(sources, 0) == 0)
			sources_poll(sources, 0);
		if (!o->session.keep_privileges)
			trust_split(&(struct trust_options){.shared = sources_shared(sources),
							    .command = -1});
		all = bpf_capabilities(sources_shared(sources), &n);
		refused = bpf_capabilities_refused(sources_shared(sources));
	}
	if (o->json) {
		int shortage = print_json(all, n, &e);

		r = r < 0 ? r : shortage;
	} else {
		fit_columns(&p, all, n);
		print_machine(&p, root);
		print_families(&p, all, n);
		if (!n)
			print_without_kernel(&p, root);
	}
	shown = report_close(stdout, EXIT_ASKED);
	if (refused)
		log_warning("%llu hooks are not in this list: not enough memory, or more than %d",
			    (unsigned long long)refused, CAPABILITIES_MAX);

	status = complete(all, n) ? EXIT_ASKED : EXIT_FAILED;
	if (r < 0) {
		log_error("%s", e.text[0] ? e.text : strerror(-r));
		status = r == -EPERM || r == -EACCES ? EXIT_NO_PRIV : EXIT_FAILED;
	}
	if (sources)
		sources_finish(sources);
	sources_free(sources);
	proc_table_free(procs);
	return shown == EXIT_ASKED ? status : shown;
}
