/* SPDX-License-Identifier: MIT */
/*
 * How long an x86-64 instruction is, and what it does when it is one of the few that matter here: constants
 * and addresses put into registers, branches, ends of functions. Pure; any bytes may come in.
 */
#ifndef AGENTSIGHT_FIND_X86_H
#define AGENTSIGHT_FIND_X86_H

#include <stddef.h>
#include <stdint.h>

/* Numbers of registers as instructions encode them. */
enum x86_reg {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
};

enum x86_kind {
	X86_OTHER,
	X86_SET,       /* @reg = @value: mov r32, imm32; lea r64, [rip + x]; xor r, r */
	X86_PUSH,      /* push of the constant @value */
	X86_POP,       /* pop @reg */
	X86_FRAME,     /* mov rbp, rsp: from here on rbp points to the stack */
	X86_STORE,     /* to memory at @reg and something: mov, vector moves, arithmetic */
	X86_CALL,      /* @value is the target */
	X86_CALL_SLOT, /* through memory or a register */
	X86_JUMP,      /* @value is the target */
	X86_BRANCH,    /* conditional, @value is the target */
	X86_RET,
	X86_END, /* nothing behind it is reached from here: ud2, int3, hlt, jump through memory */
};

struct x86_insn {
	enum x86_kind kind;
	uint8_t len;
	uint8_t reg;
	uint64_t value;
};

/* 0, or -EBADMSG when the bytes are no instruction or are cut short. */
int x86_decode(const uint8_t *code, size_t len, uint64_t vaddr, struct x86_insn *ret);

#endif
