/* SPDX-License-Identifier: MIT */
/* Instruction lengths and the few meanings that the finder reads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "find/x86.h"

#define CODE(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

static const struct {
	const char *text;
	uint8_t code[15];
	size_t len;
	enum x86_kind kind;
	uint8_t reg;
	uint64_t value;
} cases[] = {
	{"nop", CODE(0x90), X86_OTHER, 0, 0},
	{"mov edx, 226", CODE(0xba, 0xe2, 0, 0, 0), X86_SET, X86_RDX, 226},
	{"mov r8d, 7", CODE(0x41, 0xb8, 7, 0, 0, 0), X86_SET, X86_R8, 7},
	{"mov eax, 0xffffffff", CODE(0xb8, 0xff, 0xff, 0xff, 0xff), X86_SET, X86_RAX, 0xffffffff},
	{"movabs rcx, imm64", CODE(0x48, 0xb9, 1, 0, 0, 0, 1, 0, 0, 0), X86_SET, X86_RCX,
	 0x100000001},
	{"mov ax, imm16", CODE(0x66, 0xb8, 1, 0), X86_OTHER, 0, 0},
	{"mov rsi, -1", CODE(0x48, 0xc7, 0xc6, 0xff, 0xff, 0xff, 0xff), X86_SET, X86_RSI,
	 UINT64_MAX},
	{"xor esi, esi", CODE(0x31, 0xf6), X86_SET, X86_RSI, 0},
	{"xor esi, edi", CODE(0x31, 0xfe), X86_OTHER, 0, 0},
	{"xor r8d, eax", CODE(0x41, 0x31, 0xc0), X86_OTHER, 0, 0},
	{"lea rcx, [rip+16]", CODE(0x48, 0x8d, 0x0d, 16, 0, 0, 0), X86_SET, X86_RCX, 0x1017},
	{"lea r9, [rip-7]", CODE(0x4c, 0x8d, 0x0d, 0xf9, 0xff, 0xff, 0xff), X86_SET, 9, 0x1000},
	{"lea rcx, [rax+16]", CODE(0x48, 0x8d, 0x48, 16), X86_OTHER, 0, 0},
	{"push 66", CODE(0x6a, 66), X86_PUSH, 0, 66},
	{"push 226", CODE(0x68, 226, 0, 0, 0), X86_PUSH, 0, 226},
	{"pop rdx", CODE(0x5a), X86_POP, X86_RDX, 0},
	{"call", CODE(0xe8, 0xfb, 0xff, 0xff, 0xff), X86_CALL, 0, 0x1000},
	{"call [rax]", CODE(0xff, 0x10), X86_CALL_SLOT, 0, 0},
	{"jmp short", CODE(0xeb, 0xfe), X86_JUMP, 0, 0x1000},
	{"jmp", CODE(0xe9, 0, 1, 0, 0), X86_JUMP, 0, 0x1105},
	{"jne", CODE(0x75, 2), X86_BRANCH, 0, 0x1004},
	{"jne near", CODE(0x0f, 0x85, 0, 1, 0, 0), X86_BRANCH, 0, 0x1106},
	{"ret", CODE(0xc3), X86_RET, 0, 0},
	{"rep ret", CODE(0xf3, 0xc3), X86_RET, 0, 0},
	{"ud2", CODE(0x0f, 0x0b), X86_END, 0, 0},
	{"int3", CODE(0xcc), X86_END, 0, 0},
	{"jmp [rip]", CODE(0xff, 0x25, 0, 0, 0, 0), X86_END, 0, 0},
	{"endbr64", CODE(0xf3, 0x0f, 0x1e, 0xfa), X86_OTHER, 0, 0},
	{"nop word cs:[rax+rax]", CODE(0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0), X86_OTHER, 0,
	 0},
	{"mov [rsp+8], imm32", CODE(0xc7, 0x44, 0x24, 8, 1, 2, 3, 4), X86_STORE, X86_RSP, 0},
	{"mov [rdi+0x80], rcx", CODE(0x48, 0x89, 0x8f, 0x80, 0, 0, 0), X86_STORE, X86_RDI, 0},
	{"mov rbp, rsp", CODE(0x48, 0x89, 0xe5), X86_FRAME, 0, 0},
	{"mov [r13], eax", CODE(0x41, 0x89, 0x45, 0), X86_STORE, 13, 0},
	{"mov [rip+1], eax", CODE(0x89, 0x05, 1, 0, 0, 0), X86_OTHER, 0, 0},
	{"mov rcx, [rdi+0x80]", CODE(0x48, 0x8b, 0x8f, 0x80, 0, 0, 0), X86_OTHER, 0, 0},
	{"sub [rax+8], rsi", CODE(0x48, 0x29, 0x70, 8), X86_STORE, X86_RAX, 0},
	{"sub rsi, [rax+8]", CODE(0x48, 0x2b, 0x70, 8), X86_OTHER, 0, 0},
	{"cmp [rdi], rsi", CODE(0x48, 0x39, 0x37), X86_OTHER, 0, 0},
	{"cmp qword [rdi+0x98], 0", CODE(0x48, 0x83, 0xbf, 0x98, 0, 0, 0, 0), X86_OTHER, 0, 0},
	{"add qword [rdi], 1", CODE(0x48, 0x83, 0x07, 1), X86_STORE, X86_RDI, 0},
	{"mov ecx, esi", CODE(0x89, 0xf1), X86_OTHER, 0, 0},
	{"movups [rbx], xmm0", CODE(0x0f, 0x11, 0x03), X86_STORE, X86_RBX, 0},
	{"movups xmm0, [rbx]", CODE(0x0f, 0x10, 0x03), X86_OTHER, 0, 0},
	{"call [rdi]", CODE(0xff, 0x17), X86_CALL_SLOT, 0, 0},
	{"test byte [rdi], 1", CODE(0xf6, 0x07, 1), X86_OTHER, 0, 0},
	{"not dword [rdi]", CODE(0xf7, 0x17), X86_OTHER, 0, 0},
	{"mov eax, fs:0", CODE(0x64, 0x8b, 0x04, 0x25, 0, 0, 0, 0), X86_OTHER, 0, 0},
	{"pshufb", CODE(0x66, 0x0f, 0x38, 0x00, 0xc1), X86_OTHER, 0, 0},
	{"palignr", CODE(0x66, 0x0f, 0x3a, 0x0f, 0xc1, 8), X86_OTHER, 0, 0},
	{"vzeroupper", CODE(0xc5, 0xf8, 0x77), X86_OTHER, 0, 0},
	{"vaesenc", CODE(0xc4, 0xe2, 0x79, 0xdc, 0xc1), X86_OTHER, 0, 0},
	{"vpternlogd zmm", CODE(0x62, 0xf3, 0x7d, 0x48, 0x25, 0xc1, 0x96), X86_OTHER, 0, 0},
};

static void instructions_have_their_length_and_meaning(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct x86_insn insn;

		if (x86_decode(cases[i].code, 15, 0x1000, &insn) < 0)
			fail_msg("%s is not decoded", cases[i].text);
		if (insn.len != cases[i].len || insn.kind != cases[i].kind ||
		    insn.reg != cases[i].reg || insn.value != cases[i].value)
			fail_msg("%s: %u bytes, kind %d, register %u, value 0x%lx", cases[i].text,
				 insn.len, insn.kind, insn.reg, (unsigned long)insn.value);
	}
}

static void an_instruction_that_is_cut_short_is_none(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct x86_insn insn;

		for (size_t len = 0; len < cases[i].len; len++)
			assert_int_equal(x86_decode(cases[i].code, len, 0, &insn), -EBADMSG);
	}
}

static void what_is_no_instruction_is_told(void **state)
{
	static const uint8_t bad[][2] = {{0x06}, {0x9a}, {0x82}, {0xd6}, {0x0f, 0x0a}};
	uint8_t code[15] = {};
	struct x86_insn insn;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(code, bad[i], 2);
		assert_int_equal(x86_decode(code, sizeof(code), 0, &insn), -EBADMSG);
	}
	memset(code, 0x66, sizeof(code));
	assert_int_equal(x86_decode(code, sizeof(code), 0, &insn), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instructions_have_their_length_and_meaning),
		cmocka_unit_test(an_instruction_that_is_cut_short_is_none),
		cmocka_unit_test(what_is_no_instruction_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
