/* SPDX-License-Identifier: MIT */
/*
 * uses_ssl [wait]: calls each function of other_ssl.c, which is a library, and prints what came of it; when it is to wait,
 * after a line on standard input, and ends at the end of that.
 */
#include <stdio.h>
#include <unistd.h>

int SSL_read(void *ssl, void *buf, int num);
int SSL_write(void *ssl, const void *buf, int num);
int SSL_do_handshake(void *ssl);

int main(int argc, char **argv)
{
	char buf[100];
	int ssl = 0, got = 0;

	if (argc > 1 && getchar() == EOF)
		return 2;
	if (SSL_do_handshake(&ssl) != 1)
		return 1;
	for (int i = 0; i < 50; i++)
		got += SSL_read(&ssl, buf, sizeof(buf)) + SSL_write(&ssl, buf, sizeof(buf));
	printf("%d bytes, state %d\n", got, ssl);
	fflush(stdout);
	while (argc > 1 && getchar() != EOF)
		;
	return 0;
}
