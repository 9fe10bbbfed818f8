/* SPDX-License-Identifier: MIT */
/*
 * Chooses probe sites. On x86-64 the price of a uprobe hit is set by the instruction under it: push, nop,
 * call and jmp are emulated (0.6 us), everything else is single-stepped (9 us on a virtual machine). So
 * a site is moved where that is provably the same call:
 *
 *  - behind endbr64, which changes no register and no stack;
 *  - from thin wrappers to the function they share. SSL_read and SSL_read_ex both end in one internal
 *    function, SSL_write and SSL_write_ex in another. The _ex wrapper is the proof: when nothing but
 *    stack adjustment stands before its one call, its callee has its arguments, hence its shape.
 *
 * The shared function also sees more: BIO_f_ssl() calls it without any of the exported wrappers. So it
 * is taken even when it is single-stepped, unless the wrappers are cheap.
 *
 * Otherwise the symbol entry is probed: slower, never wrong. A wrapper is not probed together with the
 * function it calls, or each byte would be recorded twice.
 */
#include "source/tls_sites.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/elf.h"

#define CODE_MAX    96 /* bytes of a function that are looked at; SSL_write calls at +52 in 3.5 */
#define TARGETS_MAX 16
#define STUBS_MAX   32 /* import stubs resolved per file; each costs a pass over relocations */

/* Reads, and 4 KiB of them: 0.1 ms, 1 ms at worst. libssl, libgnutls and node take 120 at most. */
#define GLANCE_WORK 256

enum function {
	SSL_READ,
	SSL_READ_EX,
	SSL_WRITE,
	SSL_WRITE_EX,
	SSL_WRITE_EX2,
	SSL_DO_HANDSHAKE,
	SSL_CTRL,
	GNUTLS_RECV,
	GNUTLS_RECV_SEQ,
	GNUTLS_SEND,
	GNUTLS_SEND2,
	GNUTLS_HANDSHAKE,
	GNUTLS_SERVER_NAME_SET,
	SSL_GET0_ALPN_SELECTED,
	GNUTLS_ALPN_GET,
	SSL_SENDFILE,
	SSL_FREE,
	GNUTLS_DEINIT,
	N_FUNCTIONS,
};

/* SSL_read comes first: elf_symtab_find() gives up when the first name is missing. */
static const struct {
	const char *name;
	enum tls_kind kind;
	enum tls_shape shape;
} functions[N_FUNCTIONS] = {
	[SSL_READ] = {"SSL_read", TLS_READ, TLS_SHAPE_RET_INT},
	[SSL_READ_EX] = {"SSL_read_ex", TLS_READ, TLS_SHAPE_COUNT_ARG4},
	[SSL_WRITE] = {"SSL_write", TLS_WRITE, TLS_SHAPE_RET_INT},
	[SSL_WRITE_EX] = {"SSL_write_ex", TLS_WRITE, TLS_SHAPE_COUNT_ARG4},
	[SSL_WRITE_EX2] = {"SSL_write_ex2", TLS_WRITE, TLS_SHAPE_COUNT_ARG5},
	[SSL_DO_HANDSHAKE] = {"SSL_do_handshake", TLS_HANDSHAKE, TLS_SHAPE_RET_INT},
	[SSL_CTRL] = {"SSL_ctrl", TLS_SNI, TLS_SHAPE_CTRL},
	[GNUTLS_RECV] = {"gnutls_record_recv", TLS_READ, TLS_SHAPE_RET_SSIZE},
	[GNUTLS_RECV_SEQ] = {"gnutls_record_recv_seq", TLS_READ, TLS_SHAPE_RET_SSIZE},
	[GNUTLS_SEND] = {"gnutls_record_send", TLS_WRITE, TLS_SHAPE_RET_SSIZE},
	[GNUTLS_SEND2] = {"gnutls_record_send2", TLS_WRITE, TLS_SHAPE_RET_SSIZE},
	[GNUTLS_HANDSHAKE] = {"gnutls_handshake", TLS_HANDSHAKE, TLS_SHAPE_RET_SSIZE},
	[GNUTLS_SERVER_NAME_SET] = {"gnutls_server_name_set", TLS_SNI, TLS_SHAPE_RET_SSIZE},
	[SSL_GET0_ALPN_SELECTED] = {"SSL_get0_alpn_selected", TLS_ALPN, TLS_SHAPE_RET_INT},
	[GNUTLS_ALPN_GET] = {"gnutls_alpn_get_selected_protocol", TLS_ALPN, TLS_SHAPE_RET_SSIZE},
	[SSL_SENDFILE] = {"SSL_sendfile", TLS_SENDFILE, TLS_SHAPE_RET_SSIZE},
	[SSL_FREE] = {"SSL_free", TLS_FREE, TLS_SHAPE_RET_INT},
	[GNUTLS_DEINIT] = {"gnutls_deinit", TLS_FREE, TLS_SHAPE_RET_INT},
};

/* A direct call or jump; @import names the function when the target is a PLT stub. */
struct target {
	uint64_t vaddr;
	char import[ELF_NAME_MAX];
};

struct subject {
	uint64_t vaddr; /* 0: the file has no such function */
	uint64_t size;
	uint8_t code[CODE_MAX];
	size_t code_len;
	size_t n_targets;
	struct target targets[TARGETS_MAX];
	enum function covered_by; /* itself, or the function it merely forwards to */
};

struct search {
	struct elf *elf;
	size_t n_stubs;
	struct subject subjects[N_FUNCTIONS];
};

static uint32_t load_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Sign-extends the low @bits of @v. */
static uint64_t sign_extend(uint64_t v, unsigned int bits)
{
	uint64_t sign = 1ULL << (bits - 1);

	v &= (sign << 1) - 1;
	return (v ^ sign) - sign;
}

/* Bytes of endbr64 at @code: 4 or 0. */
static size_t x86_endbr(const uint8_t *code, size_t len)
{
	return len >= 4 && memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0 ? 4 : 0;
}

/* push reg (also r8-r15), one-byte nop, call, jmp: emulated by every kernel since 4.18. */
static bool x86_emulated(const uint8_t *code, size_t len)
{
	if (len == 0)
		return false;
	if (code[0] == 0x41)
		return len >= 2 && code[1] >= 0x50 && code[1] <= 0x57;

	return (code[0] >= 0x50 && code[0] <= 0x57) || code[0] == 0x90 || code[0] == 0xe8 ||
	       code[0] == 0xe9 || code[0] == 0xeb;
}

/* How a function that starts with @code is probed, and how far behind its first byte. */
static enum tls_place x86_place(const uint8_t *code, size_t len, uint64_t *ret_skip)
{
	size_t skip = x86_endbr(code, len);

	*ret_skip = 0;
	if (!x86_emulated(code + skip, len - skip))
		return TLS_PLACE_ENTRY_SLOW;

	*ret_skip = skip;
	return skip ? TLS_PLACE_ENDBR : TLS_PLACE_ENTRY;
}

/*
 * On aarch64 the entry is the site: what the kernel simulates there changes from version to version,
 * and stepping is cheap next to x86.
 */
static enum tls_place code_place(const struct search *s, const uint8_t *code, size_t len,
				 uint64_t *ret_skip)
{
	*ret_skip = 0;
	if (elf_machine(s->elf) != EM_X86_64)
		return TLS_PLACE_ENTRY_SLOW;

	return x86_place(code, len, ret_skip);
}

/* Import stub: [endbr64] [bnd] jmp *slot(%rip). */
static bool x86_stub_slot(const uint8_t *code, size_t len, uint64_t vaddr, uint64_t *ret_slot)
{
	size_t at = x86_endbr(code, len);

	at += at < len && code[at] == 0xf2;
	if (at + 6 > len || code[at] != 0xff || code[at + 1] != 0x25)
		return false;

	*ret_slot = vaddr + at + 6 + sign_extend(load_u32(code + at + 2), 32);
	return true;
}

/* Import stub: [bti c] adrp x16, page; ldr x17, [x16, offset]. */
static bool arm_stub_slot(const uint8_t *code, size_t len, uint64_t vaddr, uint64_t *ret_slot)
{
	uint32_t adrp, ldr;
	size_t at = len >= 4 && load_u32(code) == 0xd503245f ? 4 : 0;
	uint64_t pages;

	if (at + 8 > len)
		return false;

	adrp = load_u32(code + at);
	ldr = load_u32(code + at + 4);
	if ((adrp & 0x9f00001f) != 0x90000010 || (ldr & 0xffc003ff) != 0xf9400211)
		return false;

	pages = sign_extend((adrp >> 3 & 0x1ffffc) | (adrp >> 29 & 3), 21);
	*ret_slot = ((vaddr + at) & ~0xfffULL) + (pages << 12) + (uint64_t)(ldr >> 10 & 0xfff) * 8;
	return true;
}

/* The import that a branch to @vaddr reaches; leaves the name empty when it is no stub. */
static void target_resolve(struct search *s, struct target *t)
{
	bool x86 = elf_machine(s->elf) == EM_X86_64;
	uint8_t code[16];
	uint64_t slot;
	ssize_t n = elf_read_upto(s->elf, t->vaddr, code, sizeof(code));

	if (n < 0 || s->n_stubs == STUBS_MAX)
		return;
	if (x86 ? !x86_stub_slot(code, (size_t)n, t->vaddr, &slot)
		: !arm_stub_slot(code, (size_t)n, t->vaddr, &slot))
		return;

	s->n_stubs++;
	if (elf_slot_symbol(s->elf, slot, t->import) < 0)
		t->import[0] = '\0';
}

static void target_add(struct search *s, struct subject *f, uint64_t vaddr)
{
	struct target *t = &f->targets[f->n_targets];

	if (f->n_targets == TARGETS_MAX || !elf_in_text(s->elf, vaddr))
		return;

	*t = (struct target){.vaddr = vaddr};
	target_resolve(s, t);
	f->n_targets++;
}

/* The target of call rel32, jmp rel32 or jmp rel8 at @at. */
static bool x86_branch(const struct subject *f, size_t at, uint64_t *ret_vaddr)
{
	const uint8_t *code = f->code + at;
	size_t left = f->code_len - at;

	if (left >= 5 && (code[0] & 0xfe) == 0xe8)
		*ret_vaddr = f->vaddr + at + 5 + sign_extend(load_u32(code + 1), 32);
	else if (left >= 2 && code[0] == 0xeb)
		*ret_vaddr = f->vaddr + at + 2 + sign_extend(code[1], 8);
	else
		return false;
	return true;
}

/* The target of b or bl at @at. */
static bool arm_branch(const struct subject *f, size_t at, uint64_t *ret_vaddr)
{
	uint32_t insn;

	if (at % 4 != 0 || f->code_len - at < 4)
		return false;

	insn = load_u32(f->code + at);
	if ((insn & 0x7c000000) != 0x14000000)
		return false;

	*ret_vaddr = f->vaddr + at + (sign_extend(insn, 26) << 2);
	return true;
}

/*
 * Collects direct calls and jumps. x86 bytes are not decoded in step: a 0xe8 inside another instruction
 * gives a random target, which is harmless because targets only count when they equal a known function.
 */
static void subject_scan(struct search *s, struct subject *f)
{
	bool x86 = elf_machine(s->elf) == EM_X86_64;
	uint64_t vaddr;

	for (size_t i = 0; i < f->code_len; i++) {
		if (x86 ? x86_branch(f, i, &vaddr) : arm_branch(f, i, &vaddr))
			target_add(s, f, vaddr);
	}
}

static int subject_load(struct search *s, struct subject *f)
{
	size_t len = f->size > 0 ? MIN(f->size, (uint64_t)CODE_MAX) : CODE_MAX;
	ssize_t n = elf_read_upto(s->elf, f->vaddr, f->code, len);

	if (n < 0)
		return (int)n;

	f->code_len = (size_t)n;
	subject_scan(s, f);
	return 0;
}

/* Does @f call or jump to the function at @vaddr, or to the import @name (may be NULL)? */
static bool subject_calls(const struct subject *f, uint64_t vaddr, const char *name)
{
	for (size_t i = 0; i < f->n_targets; i++) {
		if (f->targets[i].vaddr == vaddr)
			return true;
		if (name && strcmp(f->targets[i].import, name) == 0)
			return true;
	}
	return false;
}

static bool subject_probed(const struct search *s, enum function i, enum tls_kind kind)
{
	return s->subjects[i].vaddr && s->subjects[i].covered_by == i && functions[i].kind == kind;
}

/* OpenSSL 3.3's SSL_write_ex is a jump to SSL_write_ex2: what forwards to another one is not probed. */
static void wrappers_cover(struct search *s)
{
	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		for (enum function k = 0; k < N_FUNCTIONS; k++) {
			if (i == k || !subject_probed(s, i, functions[i].kind) ||
			    !subject_probed(s, k, functions[i].kind))
				continue;
			/* An alias, or a wrapper. */
			if (s->subjects[i].vaddr == s->subjects[k].vaddr ||
			    subject_calls(&s->subjects[i], s->subjects[k].vaddr, functions[k].name))
				s->subjects[i].covered_by = k;
		}
	}
}

/* Instructions that may stand before a wrapper's call: they leave all argument registers alone. */
static const struct {
	uint8_t len;
	uint8_t fixed; /* how many leading bytes must be equal; the rest is an operand */
	uint8_t bytes[9];
} x86_harmless[] = {
	{4, 4, {0xf3, 0x0f, 0x1e, 0xfa}},             /* endbr64 */
	{4, 3, {0x48, 0x83, 0xec}},                   /* sub $n, %rsp */
	{1, 1, {0x50}},                               /* push %rax: clang aligns the stack so */
	{1, 1, {0x53}},                               /* push %rbx */
	{1, 1, {0x55}},                               /* push %rbp */
	{3, 3, {0x48, 0x89, 0xe5}},                   /* mov %rsp, %rbp */
	{9, 9, {0x64, 0x48, 0x8b, 0x04, 0x25, 0x28}}, /* mov %fs:0x28, %rax: stack protector */
	{5, 4, {0x48, 0x89, 0x44, 0x24}},             /* mov %rax, n(%rsp) */
	{2, 2, {0x31, 0xc0}},                         /* xor %eax, %eax */
	{1, 1, {0x90}},                               /* nop */
};

static size_t x86_harmless_len(const uint8_t *code, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(x86_harmless); i++) {
		if (x86_harmless[i].len <= len &&
		    memcmp(code, x86_harmless[i].bytes, x86_harmless[i].fixed) == 0)
			return x86_harmless[i].len;
	}
	return 0;
}

/* The function that the wrapper @f calls first with its own arguments unchanged; 0 when not proven. */
static uint64_t x86_forwarded(const struct subject *f)
{
	uint64_t vaddr;
	size_t at = 0, len;

	while ((len = x86_harmless_len(f->code + at, f->code_len - at)) > 0)
		at += len;
	return at < f->code_len && x86_branch(f, at, &vaddr) ? vaddr : 0;
}

/* Do all probed functions of this kind reach @vaddr? */
static bool internal_shared(const struct search *s, enum tls_kind kind, uint64_t vaddr)
{
	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		if (subject_probed(s, i, kind) && !subject_calls(&s->subjects[i], vaddr, NULL))
			return false;
	}
	return true;
}

static void covers_add(struct tls_site *site, const char *name)
{
	size_t len = strlen(site->covers);

	snprintf(site->covers + len, sizeof(site->covers) - len, "%s%s", len ? " " : "", name);
}

/* Adds a site; the caller's table has room for every function. */
static struct tls_site *site_add(const struct search *s, struct tls_sites *ret, enum function i,
				 uint64_t vaddr, enum tls_place place)
{
	struct tls_site *site = &ret->sites[ret->n];
	uint64_t offset;

	if (ret->n == TLS_SITES_MAX || elf_vaddr_to_offset(s->elf, vaddr, &offset) < 0)
		return NULL;

	*site = (struct tls_site){
		.kind = functions[i].kind,
		.shape = functions[i].shape,
		.place = place,
		.function = functions[i].name,
		.offset = offset,
		.vaddr = vaddr,
	};
	ret->n++;
	return site;
}

/* The function at which calls of @i finally arrive. */
static enum function subject_root(const struct search *s, enum function i)
{
	for (size_t steps = 0; steps < N_FUNCTIONS && s->subjects[i].covered_by != i; steps++)
		i = s->subjects[i].covered_by;
	return i;
}

/* One site at each function of this kind. */
static void entries_place(const struct search *s, struct tls_sites *ret, enum tls_kind kind)
{
	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		const struct subject *f = &s->subjects[i];
		struct tls_site *site;
		enum tls_place place;
		uint64_t skip;

		if (!subject_probed(s, i, kind))
			continue;

		place = code_place(s, f->code, f->code_len, &skip);
		site = site_add(s, ret, i, f->vaddr + skip, place);
		for (enum function k = 0; site && k < N_FUNCTIONS; k++) {
			if (s->subjects[k].vaddr && subject_root(s, k) == i)
				covers_add(site, functions[k].name);
		}
	}
}

static bool entries_cheap(const struct search *s, enum tls_kind kind)
{
	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		const struct subject *f = &s->subjects[i];
		uint64_t skip;

		if (subject_probed(s, i, kind) &&
		    code_place(s, f->code, f->code_len, &skip) == TLS_PLACE_ENTRY_SLOW)
			return false;
	}
	return true;
}

/*
 * The function that the wrappers of this kind share, when it can be proven: @ex calls it with its own
 * arguments, and all others reach it. 0 when any part of the proof is missing.
 */
static uint64_t internal_find(const struct search *s, enum function plain, enum function ex)
{
	enum tls_kind kind = functions[plain].kind;
	uint64_t vaddr, slot;
	uint8_t code[16];
	ssize_t n;

	if (elf_machine(s->elf) != EM_X86_64 || !subject_probed(s, plain, kind) ||
	    !subject_probed(s, ex, kind))
		return 0;

	vaddr = x86_forwarded(&s->subjects[ex]);
	if (!elf_in_text(s->elf, vaddr) || !internal_shared(s, kind, vaddr))
		return 0;

	/* An import stub is the start of a function elsewhere. */
	n = elf_read_upto(s->elf, vaddr, code, sizeof(code));
	if (n < 0 || x86_stub_slot(code, (size_t)n, vaddr, &slot))
		return 0;
	return vaddr;
}

/*
 * One site in the shared function instead of one per wrapper: with the shape of @ex, whose arguments it
 * has, under the name of @plain. False when the wrappers themselves are the better sites.
 */
static bool internal_place(const struct search *s, struct tls_sites *ret, enum function plain,
			   enum function ex)
{
	enum tls_kind kind = functions[plain].kind;
	uint64_t vaddr = internal_find(s, plain, ex), skip;
	struct tls_site *site;
	uint8_t code[16];
	ssize_t n;
	bool slow;

	if (!vaddr)
		return false;
	n = elf_read_upto(s->elf, vaddr, code, sizeof(code));
	if (n < 0)
		return false;
	slow = code_place(s, code, (size_t)n, &skip) == TLS_PLACE_ENTRY_SLOW;
	if (slow && entries_cheap(s, kind))
		return false;

	site = site_add(s, ret, ex, vaddr + skip,
			slow ? TLS_PLACE_INTERNAL_SLOW : TLS_PLACE_INTERNAL);
	if (!site)
		return false;
	site->function = functions[plain].name;
	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		if (s->subjects[i].vaddr && functions[i].kind == kind)
			covers_add(site, functions[i].name);
	}
	return true;
}

static bool sites_have(const struct tls_sites *sites, enum tls_kind kind)
{
	for (size_t i = 0; i < sites->n; i++) {
		if (sites->sites[i].kind == kind)
			return true;
	}
	return false;
}

/* Calls of gnutls_record_send() arrive at gnutls_record_send2(), which hardly anybody calls himself. */
static void gnutls_name(struct tls_sites *sites)
{
	for (size_t i = 0; i < sites->n; i++) {
		if (sites->sites[i].function == functions[GNUTLS_SEND2].name &&
		    strstr(sites->sites[i].covers, " "))
			sites->sites[i].function = functions[GNUTLS_SEND].name;
	}
}

/* mov n(%rdi), %reg with a displacement of 32 bits: its operand behind the opcode. */
static bool x86_loads_from_rdi(const uint8_t *code, uint32_t *ret_at)
{
	if (code[0] != 0x8b || (code[1] & 0xc7) != 0x87)
		return false;
	*ret_at = load_u32(code + 2);
	return true;
}

/* Does anything here load %rdi from memory? Then it is not the argument any more. */
static bool x86_replaces_rdi(const struct subject *f)
{
	for (size_t i = 0; i + 3 <= f->code_len; i++) {
		if (f->code[i] == 0x48 && f->code[i + 1] == 0x8b &&
		    (f->code[i + 2] & 0x38) == 0x38 && f->code[i + 2] < 0xc0)
			return true;
	}
	return false;
}

/*
 * SSL_get0_alpn_selected() is all but two loads from its argument, a pointer and the length behind it:
 * where from is the offset, whatever the version. BoringSSL has them one object further, and its
 * programs' protocols are known when they ask.
 */
static uint16_t alpn_find(const struct search *s)
{
	const struct subject *f = &s->subjects[SSL_GET0_ALPN_SELECTED];
	uint32_t pointer = 0, at;

	if (elf_machine(s->elf) != EM_X86_64 || !f->vaddr || x86_replaces_rdi(f))
		return 0;
	for (size_t i = 0; i + 6 <= f->code_len; i++) {
		if (!x86_loads_from_rdi(f->code + i, &at))
			continue;
		if (i && f->code[i - 1] == 0x48 && !pointer)
			pointer = at;
		else
			return pointer && at == pointer + 8 && at <= UINT16_MAX ? (uint16_t)pointer
										: 0;
	}
	return 0;
}

/* From the functions' addresses to sites. -ENOENT with a reason when one direction would be missing. */
static int functions_place(struct search *s, struct tls_sites *ret, struct err *e)
{
	enum function write_ex = s->subjects[SSL_WRITE_EX2].vaddr ? SSL_WRITE_EX2 : SSL_WRITE_EX;
	bool openssl = !s->subjects[GNUTLS_RECV].vaddr && !s->subjects[GNUTLS_SEND].vaddr;

	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		int r = s->subjects[i].vaddr ? subject_load(s, &s->subjects[i]) : 0;

		if (r < 0)
			return r;
		s->subjects[i].covered_by = i;
	}

	wrappers_cover(s);
	if (!internal_place(s, ret, SSL_READ, SSL_READ_EX))
		entries_place(s, ret, TLS_READ);
	if (!internal_place(s, ret, SSL_WRITE, write_ex))
		entries_place(s, ret, TLS_WRITE);
	entries_place(s, ret, TLS_HANDSHAKE);
	entries_place(s, ret, TLS_SNI);
	entries_place(s, ret, TLS_ALPN);
	entries_place(s, ret, TLS_SENDFILE);
	entries_place(s, ret, TLS_FREE);
	ret->alpn_at = alpn_find(s);

	if (!sites_have(ret, TLS_READ))
		return err_set(e, -ENOENT, "has %s but no %s: not a TLS library",
			       openssl ? "SSL_write" : "gnutls_record_send",
			       openssl ? "SSL_read" : "gnutls_record_recv");
	if (!sites_have(ret, TLS_WRITE))
		return err_set(e, -ENOENT, "has %s but no %s: not a TLS library",
			       openssl ? "SSL_read" : "gnutls_record_recv",
			       openssl ? "SSL_write" : "gnutls_record_send");
	gnutls_name(ret);
	ret->family = openssl ? TLS_OPENSSL : TLS_GNUTLS;
	return 0;
}

/* The newest function that is there tells the version: libssl itself does not contain its number. */
static const char *library_version(struct elf *elf)
{
	static const struct {
		const char *symbol;
		const char *version;
	} since[] = {
		{"SSL_write_ex2", "OpenSSL 3.3 or later"},
		{"SSL_new_stream", "OpenSSL 3.2"},
		{"SSL_get1_peer_certificate", "OpenSSL 3.0 or 3.1"},
		{"SSL_read_ex", "OpenSSL 1.1.1"},
		{"OPENSSL_init_ssl", "OpenSSL 1.1.0"},
		{"gnutls_record_send2", "GnuTLS 3.6.3 or later"},
		{"gnutls_record_send", "GnuTLS"},
	};
	uint64_t vaddr, size;

	for (size_t i = 0; i < ARRAY_SIZE(since); i++) {
		if (elf_dynsym_find(elf, since[i].symbol, &vaddr, &size) == 0)
			return since[i].version;
	}
	return "";
}

/* libssl or libgnutls themselves, and programs that export the OpenSSL they contain, such as node. */
static int exported_find(struct elf *elf, struct tls_sites *ret, struct err *e)
{
	struct search s = {.elf = elf};
	size_t found = 0;
	int r;

	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		struct subject *f = &s.subjects[i];

		r = elf_dynsym_find(elf, functions[i].name, &f->vaddr, &f->size);
		if (r < 0 && r != -ENOENT)
			return r;
		found +=
			r == 0 && (functions[i].kind == TLS_READ || functions[i].kind == TLS_WRITE);
	}
	if (found == 0)
		return -ENOENT;

	r = functions_place(&s, ret, e);
	if (r < 0)
		return r;

	ret->version = library_version(elf);
	return 0;
}

/* Programs with OpenSSL linked in that export nothing but kept their symbol table. */
static int unstripped_find(struct elf *elf, struct tls_sites *ret, struct err *e)
{
	struct elf_symbol wanted[N_FUNCTIONS];
	struct search s = {.elf = elf};
	int r;

	for (enum function i = 0; i < N_FUNCTIONS; i++)
		wanted[i] = (struct elf_symbol){.name = functions[i].name};

	r = elf_symtab_find(elf, wanted, N_FUNCTIONS);
	if (r < 0)
		return r;
	for (enum function i = 0; i < N_FUNCTIONS; i++) {
		s.subjects[i].vaddr = wanted[i].vaddr;
		s.subjects[i].size = wanted[i].size;
	}
	return functions_place(&s, ret, e);
}

/* -ENOENT passes the file to the next one. A finder that saw half a library leaves its reason in @e. */
static const struct {
	const char *name;
	int (*find)(struct elf *elf, struct tls_sites *ret, struct err *e);
} finders[] = {
	{"exported symbols", exported_find},
	{"symbol table", unstripped_find},
};

static int elf_reason(struct err *e, int r)
{
	switch (r) {
	case -ENOEXEC:
		return err_set(e, r, "is not an ELF file");
	case -EOPNOTSUPP:
		return err_set(e, r, "is not a 64-bit x86-64 or aarch64 program or library");
	case -EBADMSG:
		return err_set(e, r, "is a damaged or truncated ELF file");
	case -E2BIG:
		return err_set(e, r, "has ELF tables too large to search");
	default:
		return err_set(e, r, "cannot be read: %s", strerror(-r));
	}
}

static int elf_find(struct elf *elf, struct tls_sites *ret, struct err *e)
{
	err_set(e, 0, "has no TLS functions that can be recognised");
	for (size_t i = 0; i < ARRAY_SIZE(finders); i++) {
		struct tls_sites found = {.finder = finders[i].name, .version = ""};

		int r = finders[i].find(elf, &found, e);

		if (r == 0) {
			*ret = found;
			return 0;
		}
		if (r != -ENOENT)
			return elf_reason(e, r);
	}
	return -ENOENT;
}

int tls_sites_check(int fd, struct err *e)
{
	_cleanup_(elf_freep) struct elf *elf = NULL;
	int r = elf_open(fd, &elf);

	return r < 0 ? elf_reason(e, r) : 0;
}

int tls_sites_find(int fd, struct tls_sites *ret, struct err *e)
{
	_cleanup_(elf_freep) struct elf *elf = NULL;
	int r = elf_open(fd, &elf);

	return r < 0 ? elf_reason(e, r) : elf_find(elf, ret, e);
}

int tls_sites_glance(int fd, struct tls_sites *ret, struct err *e)
{
	_cleanup_(elf_freep) struct elf *elf = NULL;
	int r = elf_open(fd, &elf);

	if (r < 0)
		return elf_reason(e, r);
	elf_limit(elf, GLANCE_WORK);
	return elf_find(elf, ret, e);
}

const char *tls_place_name(enum tls_place place)
{
	static const char *const names[] = {
		[TLS_PLACE_ENTRY] = "symbol",
		[TLS_PLACE_ENDBR] = "symbol, behind endbr64",
		[TLS_PLACE_INTERNAL] = "internal function",
		[TLS_PLACE_ENTRY_SLOW] = "symbol, single-stepped",
		[TLS_PLACE_INTERNAL_SLOW] = "internal function, single-stepped",
	};

	return names[place];
}
