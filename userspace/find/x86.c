/* SPDX-License-Identifier: MIT */
/*
 * The length of an instruction follows from its prefixes, the opcode's map, ModRM and the size of the
 * immediate (Intel SDM volume 2, chapter 2 and appendix A). 64-bit mode only.
 */
#include "find/x86.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define INSN_MAX 15
#define NO_BASE  0xff

/* What follows an opcode. */
enum form {
	F_NONE = 0,
	F_MODRM = 1,
	F_IMM8 = 2,
	F_IMM16 = 4,
	F_IMM = 8,       /* 32 bits, or 16 behind 0x66 */
	F_IMM_WIDE = 16, /* F_IMM, or 64 bits with REX.W */
	F_ADDRESS = 32,  /* 64 bits, or 32 behind 0x67 */
	F_GROUP3 = 64,   /* an immediate only for the first two operations of the group */
	F_BAD = 128,
};

/* clang-format off */
static const uint8_t one_byte[256] = {
	[0x00 ... 0x03] = F_MODRM, [0x04] = F_IMM8, [0x05] = F_IMM, [0x06 ... 0x07] = F_BAD,
	[0x08 ... 0x0b] = F_MODRM, [0x0c] = F_IMM8, [0x0d] = F_IMM, [0x0e ... 0x0f] = F_BAD,
	[0x10 ... 0x13] = F_MODRM, [0x14] = F_IMM8, [0x15] = F_IMM, [0x16 ... 0x17] = F_BAD,
	[0x18 ... 0x1b] = F_MODRM, [0x1c] = F_IMM8, [0x1d] = F_IMM, [0x1e ... 0x1f] = F_BAD,
	[0x20 ... 0x23] = F_MODRM, [0x24] = F_IMM8, [0x25] = F_IMM, [0x26 ... 0x27] = F_BAD,
	[0x28 ... 0x2b] = F_MODRM, [0x2c] = F_IMM8, [0x2d] = F_IMM, [0x2e ... 0x2f] = F_BAD,
	[0x30 ... 0x33] = F_MODRM, [0x34] = F_IMM8, [0x35] = F_IMM, [0x36 ... 0x37] = F_BAD,
	[0x38 ... 0x3b] = F_MODRM, [0x3c] = F_IMM8, [0x3d] = F_IMM, [0x3e ... 0x3f] = F_BAD,
	[0x40 ... 0x4f] = F_BAD, /* REX is a prefix */
	[0x60 ... 0x62] = F_BAD, [0x63] = F_MODRM, [0x64 ... 0x67] = F_BAD,
	[0x68] = F_IMM, [0x69] = F_MODRM | F_IMM, [0x6a] = F_IMM8, [0x6b] = F_MODRM | F_IMM8,
	[0x70 ... 0x7f] = F_IMM8,
	[0x80] = F_MODRM | F_IMM8, [0x81] = F_MODRM | F_IMM, [0x82] = F_BAD, [0x83] = F_MODRM | F_IMM8,
	[0x84 ... 0x8f] = F_MODRM,
	[0x9a] = F_BAD,
	[0xa0 ... 0xa3] = F_ADDRESS, [0xa8] = F_IMM8, [0xa9] = F_IMM,
	[0xb0 ... 0xb7] = F_IMM8, [0xb8 ... 0xbf] = F_IMM_WIDE,
	[0xc0 ... 0xc1] = F_MODRM | F_IMM8, [0xc2] = F_IMM16, [0xc4 ... 0xc5] = F_BAD,
	[0xc6] = F_MODRM | F_IMM8, [0xc7] = F_MODRM | F_IMM, [0xc8] = F_IMM16 | F_IMM8,
	[0xca] = F_IMM16, [0xcd] = F_IMM8, [0xce] = F_BAD,
	[0xd0 ... 0xd3] = F_MODRM, [0xd4 ... 0xd6] = F_BAD, [0xd8 ... 0xdf] = F_MODRM,
	[0xe0 ... 0xe7] = F_IMM8, [0xe8 ... 0xe9] = F_IMM, [0xea] = F_BAD, [0xeb] = F_IMM8,
	[0xf0] = F_BAD, [0xf2 ... 0xf3] = F_BAD,
	[0xf6 ... 0xf7] = F_MODRM | F_GROUP3,
	[0xfe ... 0xff] = F_MODRM,
};

/* Behind 0x0f. Most operate on ModRM, so only the others are listed. */
static const uint8_t two_byte[256] = {
	[0x00 ... 0x03] = F_MODRM, [0x04] = F_BAD, [0x05 ... 0x09] = F_NONE, [0x0a] = F_BAD,
	[0x0b] = F_NONE, [0x0c] = F_BAD, [0x0d] = F_MODRM, [0x0e] = F_NONE, [0x0f] = F_MODRM | F_IMM8,
	[0x10 ... 0x23] = F_MODRM, [0x24 ... 0x27] = F_BAD, [0x28 ... 0x2f] = F_MODRM,
	[0x30 ... 0x35] = F_NONE, [0x36] = F_BAD, [0x37] = F_NONE, [0x38 ... 0x3f] = F_BAD,
	[0x40 ... 0x6f] = F_MODRM,
	[0x70 ... 0x73] = F_MODRM | F_IMM8, [0x74 ... 0x76] = F_MODRM, [0x77] = F_NONE,
	[0x78 ... 0x7f] = F_MODRM,
	[0x80 ... 0x8f] = F_IMM, [0x90 ... 0x9f] = F_MODRM,
	[0xa0 ... 0xa2] = F_NONE, [0xa3] = F_MODRM, [0xa4] = F_MODRM | F_IMM8, [0xa5] = F_MODRM,
	[0xa6 ... 0xa7] = F_BAD, [0xa8 ... 0xaa] = F_NONE, [0xab] = F_MODRM,
	[0xac] = F_MODRM | F_IMM8, [0xad ... 0xb9] = F_MODRM, [0xba] = F_MODRM | F_IMM8,
	[0xbb ... 0xc1] = F_MODRM, [0xc2] = F_MODRM | F_IMM8, [0xc3] = F_MODRM,
	[0xc4 ... 0xc6] = F_MODRM | F_IMM8, [0xc7] = F_MODRM, [0xc8 ... 0xcf] = F_NONE,
	[0xd0 ... 0xff] = F_MODRM,
};
/* clang-format on */

/* One instruction while it is taken apart. */
struct cursor {
	const uint8_t *code;
	size_t len;
	size_t at;
	uint8_t rex;        /* or what VEX and EVEX say in its place: only W is looked at */
	bool narrow;        /* 0x66 */
	bool short_address; /* 0x67 */
	uint8_t map;        /* 0: one byte, 1: 0x0f, 2: 0x0f 0x38, 3: 0x0f 0x3a, more in EVEX */
	bool vex;
	uint8_t opcode;
	uint8_t modrm;
	uint8_t base; /* of the memory operand; NO_BASE when it has none */
};

static bool take(struct cursor *c, uint8_t *ret)
{
	if (c->at >= c->len)
		return false;
	*ret = c->code[c->at++];
	return true;
}

/* Legacy prefixes, then REX, which counts only right before the opcode. */
static bool prefixes_take(struct cursor *c)
{
	uint8_t b;

	while (take(c, &b)) {
		switch (b) {
		case 0x66:
			c->narrow = true;
			break;
		case 0x67:
			c->short_address = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0xf0:
		case 0xf2:
		case 0xf3:
			break;
		default:
			if ((b & 0xf0) == 0x40) {
				c->rex = b;
				return take(c, &c->opcode);
			}
			c->opcode = b;
			return true;
		}
	}
	return false;
}

static bool opcode_take(struct cursor *c)
{
	uint8_t p[3];

	if (!prefixes_take(c))
		return false;

	switch (c->opcode) {
	case 0x0f:
		c->map = 1;
		if (!take(c, &c->opcode))
			return false;
		if (c->opcode != 0x38 && c->opcode != 0x3a)
			return true;
		c->map = c->opcode == 0x38 ? 2 : 3;
		return take(c, &c->opcode);
	case 0xc5:
		c->vex = true;
		c->map = 1;
		return take(c, &p[0]) && take(c, &c->opcode);
	case 0xc4:
		c->vex = true;
		if (!take(c, &p[0]) || !take(c, &p[1]))
			return false;
		c->map = p[0] & 0x1f;
		return take(c, &c->opcode);
	case 0x62:
		c->vex = true;
		if (!take(c, &p[0]) || !take(c, &p[1]) || !take(c, &p[2]))
			return false;
		c->map = p[0] & 7;
		return take(c, &c->opcode);
	default:
		return true;
	}
}

static uint8_t opcode_form(const struct cursor *c)
{
	switch (c->map) {
	case 0:
		return c->vex ? F_BAD : one_byte[c->opcode];
	case 1:
		return two_byte[c->opcode];
	case 2:
		return F_MODRM;
	case 3:
		return F_MODRM | F_IMM8;
	case 5:
	case 6:
		return c->vex ? F_MODRM : F_BAD;
	default:
		return F_BAD;
	}
}

/* ModRM, SIB and displacement. */
static bool modrm_take(struct cursor *c)
{
	uint8_t mod, rm, sib = 0, base;

	if (!take(c, &c->modrm))
		return false;
	mod = c->modrm >> 6;
	rm = c->modrm & 7;
	if (mod == 3)
		return true;
	if (rm == 4 && !take(c, &sib))
		return false;
	base = rm == 4 ? sib & 7 : rm;
	if (mod != 0 || base != 5)
		c->base = base | (uint8_t)((c->rex & 1) << 3);

	if (mod == 1)
		c->at += 1;
	else if (mod == 2 || rm == 5 || (rm == 4 && (sib & 7) == 5))
		c->at += 4;
	return c->at <= c->len;
}

static size_t immediate_len(const struct cursor *c, uint8_t form)
{
	bool wide = c->rex & 8;
	size_t len = 0;

	if (form & F_GROUP3 && (c->modrm >> 3 & 7) < 2)
		len += c->opcode == 0xf6 ? 1 : c->narrow && !wide ? 2 : 4;
	if (form & F_IMM8)
		len += 1;
	if (form & F_IMM16)
		len += 2;
	if (form & F_IMM)
		len += c->narrow && !wide ? 2 : 4;
	if (form & F_IMM_WIDE)
		len += wide ? 8 : c->narrow ? 2 : 4;
	if (form & F_ADDRESS)
		len += c->short_address ? 4 : 8;
	return len;
}

static uint64_t load(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

/* The last @len bytes of the instruction, sign-extended. */
static uint64_t tail(const struct cursor *c, size_t len)
{
	const uint8_t *p = c->code + c->at - len;

	return len == 1 ? (uint64_t)(int64_t)(int8_t)*p
			: (uint64_t)(int64_t)(int32_t)(uint32_t)load(p, 4);
}

static uint8_t modrm_reg(const struct cursor *c)
{
	return (uint8_t)((c->modrm >> 3 & 7) | (c->rex & 4) << 1);
}

/* The general-purpose register that opcodes carry in their low bits. */
static uint8_t opcode_reg(const struct cursor *c)
{
	return (uint8_t)((c->opcode & 7) | (c->rex & 1) << 3);
}

static struct x86_insn set(uint8_t reg, uint64_t value)
{
	return (struct x86_insn){.kind = X86_SET, .reg = reg, .value = value};
}

static struct x86_insn to(enum x86_kind kind, uint64_t value)
{
	return (struct x86_insn){.kind = kind, .value = value};
}

/* Does the opcode write its memory operand? The common ones: what is not listed is taken for a read. */
static bool writes_memory(const struct cursor *c)
{
	uint8_t reg = c->modrm >> 3 & 7;

	if (c->map == 1)
		return c->opcode == 0x11 || c->opcode == 0x29 || c->opcode == 0x7f;
	if (c->map != 0)
		return false;
	switch (c->opcode) {
	case 0x00 ... 0x37:
		return (c->opcode & 6) == 0;
	case 0x80 ... 0x83:
		return reg != 7; /* cmp */
	case 0x88:
	case 0x89:
	case 0xc6:
	case 0xc7:
		return true;
	case 0xfe:
	case 0xff:
		return reg < 2;
	default:
		return false;
	}
}

/* The first opcode map. What is not one of ours stays X86_OTHER. */
static struct x86_insn classify(const struct cursor *c, uint64_t next)
{
	uint8_t reg = c->modrm >> 3 & 7, rm = c->modrm & 7;

	switch (c->opcode) {
	case 0x31:
	case 0x33:
		if (c->modrm >> 6 == 3 && reg == rm && !(c->rex & 4) == !(c->rex & 1))
			return set(modrm_reg(c), 0);
		break;
	case 0x50 ... 0x57:
		break;
	case 0x58 ... 0x5f:
		return (struct x86_insn){.kind = X86_POP, .reg = opcode_reg(c)};
	case 0x68:
		return to(X86_PUSH, tail(c, 4));
	case 0x6a:
		return to(X86_PUSH, tail(c, 1));
	case 0x70 ... 0x7f:
	case 0xe0 ... 0xe3:
		return to(X86_BRANCH, next + tail(c, 1));
	case 0x89:
		if (c->rex == 0x48 && c->modrm == 0xe5)
			return to(X86_FRAME, 0);
		break;
	case 0x8d:
		if ((c->modrm & 0xc7) == 5)
			return set(modrm_reg(c), next + tail(c, 4));
		break;
	case 0xb8 ... 0xbf:
		if (c->rex & 8)
			return set(opcode_reg(c), load(c->code + c->at - 8, 8));
		return set(opcode_reg(c), (uint32_t)tail(c, 4));
	case 0xc2:
	case 0xc3:
		return to(X86_RET, 0);
	case 0xc7:
		/* mov r64, imm32: the form for constants that are negative */
		if (c->modrm >> 6 == 3)
			return set(opcode_reg(&(struct cursor){.opcode = rm, .rex = c->rex}),
				   tail(c, 4));
		break;
	case 0xcc:
	case 0xf4:
		return to(X86_END, 0);
	case 0xe8:
		return to(X86_CALL, next + tail(c, 4));
	case 0xe9:
		return to(X86_JUMP, next + tail(c, 4));
	case 0xeb:
		return to(X86_JUMP, next + tail(c, 1));
	case 0xff:
		if (reg == 2)
			return to(X86_CALL_SLOT, 0);
		if (reg == 4)
			return to(X86_END, 0);
		break;
	default:
		break;
	}
	return to(X86_OTHER, 0);
}

int x86_decode(const uint8_t *code, size_t len, uint64_t vaddr, struct x86_insn *ret)
{
	struct cursor c = {.code = code, .len = len < INSN_MAX ? len : INSN_MAX, .base = NO_BASE};
	uint8_t form;

	if (!opcode_take(&c))
		return -EBADMSG;
	form = opcode_form(&c);
	if (form & F_BAD || (form & F_MODRM && !modrm_take(&c)))
		return -EBADMSG;
	c.at += immediate_len(&c, form);
	if (c.at > c.len)
		return -EBADMSG;

	*ret = to(X86_OTHER, 0);
	if (c.map == 0 && !c.narrow)
		*ret = classify(&c, vaddr + c.at);
	else if (c.map == 1 && !c.vex && c.opcode == 0x0b)
		*ret = to(X86_END, 0);
	else if (c.map == 1 && !c.vex && !c.narrow && c.opcode >= 0x80 && c.opcode <= 0x8f)
		*ret = to(X86_BRANCH, vaddr + c.at + tail(&c, 4));
	if (ret->kind == X86_OTHER && c.base != NO_BASE && writes_memory(&c))
		*ret = (struct x86_insn){.kind = X86_STORE, .reg = c.base};
	ret->len = (uint8_t)c.at;
	return 0;
}
