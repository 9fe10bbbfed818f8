/* SPDX-License-Identifier: MIT */
/*
 * What libssl.so would be if it were tiny: its functions do nothing that could be a secret. PAD moves the code, so that
 * where one version of the file has a function's first byte, another has the middle of something else.
 */
#include <stddef.h>

#ifndef PAD
#define PAD 0
#endif

int SSL_read(void *ssl, void *buf, int num);
int SSL_write(void *ssl, const void *buf, int num);
int SSL_do_handshake(void *ssl);

#define STRING_(x) #x
#define STRING(x)  STRING_(x)
__asm__(".text\n.skip " STRING(PAD) ", 0x05\n"); /* in the middle of: add $0x05050505, %eax */

__attribute__((noinline)) int SSL_do_handshake(void *ssl)
{
	*(int *)ssl = 7;
	return 1;
}

__attribute__((noinline)) int SSL_read(void *ssl, void *buf, int num)
{
	char *to = buf;

	for (int i = 0; i < num; i++)
		to[i] = (char)(*(int *)ssl += 11);
	return num;
}

__attribute__((noinline)) int SSL_write(void *ssl, const void *buf, int num)
{
	const char *from = buf;

	for (int i = 0; i < num; i++)
		*(int *)ssl = *(int *)ssl * 31 + from[i];
	return num;
}
