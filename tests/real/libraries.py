# SPDX-License-Identifier: MIT
"""TLS in libraries that are not OpenSSL's or GnuTLS's own: NSS, and what is linked into any library."""

import re
import subprocess
from pathlib import Path

from peer import body
from real import ENVIRONMENT, PYTHON, Skip, check, check_equal, need
from tls import DELAY_MS, SIZE, check_bodies, check_library, check_plaintext, exchange

# Its standard input is read and its standard output written with the same functions as its socket.
TSTCLNT = 'read _ && exec "$0" -D -o -h 127.0.0.1 -p "$1" <"$2" >"$3" 2>/dev/null'

# Two connections through NSS's layer: one for which TLS is not turned on, one with TLS that does not block.
NSS_CLIENT = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <nspr.h>
#include <nss.h>
#include <ssl.h>

static SECStatus trust(void *arg, PRFileDesc *fd, PRBool check, PRBool server)
{
	return SECSuccess;
}

static void need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %d\n", what, (int)PR_GetError());
	exit(1);
}

static PRFileDesc *dial(int port, int tls)
{
	PRSocketOptionData room = {.option = PR_SockOpt_SendBufferSize, .value.send_buffer_size = 8192};
	PRSocketOptionData wait = {.option = PR_SockOpt_Nonblocking, .value.non_blocking = PR_TRUE};
	PRFileDesc *fd = PR_NewTCPSocket();
	PRNetAddr address;

	PR_InitializeNetAddr(PR_IpAddrLoopback, port, &address);
	need(PR_SetSocketOption(fd, &room) == PR_SUCCESS, "buffer");
	need(PR_Connect(fd, &address, PR_INTERVAL_NO_TIMEOUT) == PR_SUCCESS, "connect");
	fd = SSL_ImportFD(NULL, fd);
	need(fd != NULL, "import");
	SSL_OptionSet(fd, SSL_SECURITY, tls);
	if (!tls)
		return fd;
	SSL_OptionSet(fd, SSL_HANDSHAKE_AS_CLIENT, PR_TRUE);
	SSL_AuthCertificateHook(fd, trust, NULL);
	need(SSL_ResetHandshake(fd, PR_FALSE) == SECSuccess, "reset");
	need(SSL_ForceHandshake(fd) == SECSuccess, "handshake");
	need(PR_SetSocketOption(fd, &wait) == PR_SUCCESS, "option");
	return fd;
}

static void ready(PRFileDesc *fd, int flag)
{
	PRPollDesc poll = {.fd = fd, .in_flags = flag};

	need(PR_GetError() == PR_WOULD_BLOCK_ERROR, "transfer");
	need(PR_Poll(&poll, 1, PR_SecondsToInterval(10)) == 1, "poll");
}

static int partial, blocked, peeked;

static void put(PRFileDesc *fd, const char *data, int len)
{
	for (int at = 0, turn = 0; at < len; turn++) {
		int n = turn % 2 ? PR_Send(fd, data + at, len - at, 0, PR_INTERVAL_NO_TIMEOUT)
				 : PR_Write(fd, data + at, len - at);

		blocked += n < 0;
		partial += n > 0 && n < len - at;
		if (n < 0)
			ready(fd, PR_POLL_WRITE);
		else
			at += n;
	}
}

static int get(PRFileDesc *fd, char *data, int room)
{
	for (int n, turn = 0;; turn++) {
		peeked += PR_Recv(fd, data, room, PR_MSG_PEEK, PR_INTERVAL_NO_TIMEOUT) > 0;
		n = turn % 2 ? PR_Recv(fd, data, room, 0, PR_INTERVAL_NO_TIMEOUT) : PR_Read(fd, data, room);
		if (n >= 0)
			return n;
		ready(fd, PR_POLL_READ);
	}
}

int main(int argc, char **argv)
{
	static char request[1 << 21], piece[5000];
	FILE *f = fopen(argv[3], "rb");
	int len = (int)fread(request, 1, sizeof(request), f), want = atoi(argv[4]), n;
	PRFileDesc *fd;

	need(NSS_NoDB_Init(NULL) == SECSuccess, "init");
	fd = dial(atoi(argv[1]), 0);
	need(PR_Write(fd, "GET /plain HTTP/1.1\r\n\r\n", 23) == 23, "plain write");
	need(PR_Read(fd, piece, sizeof(piece)) > 0, "plain read");
	PR_Close(fd);

	fd = dial(atoi(argv[2]), 1);
	put(fd, request, len);
	for (int got = 0; got < want; got += n)
		need((n = get(fd, piece, sizeof(piece))) > 0, "read");
	PR_Close(fd);
	printf("partial %d blocked %d peeked %d\n", partial, blocked, peeked);
	return 0;
}
"""

# OpenSSL inside a library with another name, of which only one function can be seen.
HARMLESS = r"""
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((visibility("default"))) int talk(int port, const char *request, int len, int want)
{
	struct sockaddr_in to = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}};
	SSL *ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
	int fd = socket(AF_INET, SOCK_STREAM, 0), got = 0, n = 1;
	static char piece[10000];

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1 || SSL_write(ssl, request, len) != len)
		return -2;
	while (got < want && (n = SSL_read(ssl, piece, sizeof(piece))) > 0)
		got += n;
	SSL_shutdown(ssl);
	close(fd);
	return got;
}
"""

TALK = """
import ctypes, sys
sys.stdin.readline()
request = open(sys.argv[3], "rb").read()
got = ctypes.CDLL(sys.argv[1]).talk(int(sys.argv[2]), request, len(request), int(sys.argv[4]))
assert got == int(sys.argv[4]), got
"""


def library_path(name):
    for directory in ("/usr/lib", "/usr/lib64", *Path("/usr/lib").glob("*-linux-gnu*")):
        path = Path(directory) / name
        if path.exists():
            return path
    raise Skip(f"{name} is not installed")


def compile_c(bench, name, source, *flags):
    cc = need("cc")
    output = bench.dir / name
    command = [cc, "-w", "-O2", bench.script(f"{name}.c", source), "-o", output, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode:
        raise Skip(f"{name} cannot be built: {done.stderr.splitlines()[0]}")
    return output


def request_file(bench, length, path):
    file = bench.dir / "request"
    head = f"POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    file.write_bytes(head.encode() + body(length))
    return file


def answer_length(length):
    return len(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n") + length


def plaintext_of_nsss_own_client_is_exact_both_ways(bench):
    """And nothing else is there: neither what it read from a file nor what it wrote to one."""
    tstclnt = need("tstclnt")
    got = bench.dir / "got"

    def client(peer, up, path):
        request = request_file(bench, SIZE + 1, path)
        argv = ["/bin/sh", "-c", TSTCLNT, tstclnt, str(peer.port), request, got]
        return bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    exchange(bench, client, "tstclnt", "libssl3.so", handshakes=0)
    check(got.read_bytes().endswith(body(SIZE)), "the client did not get the answer")


def nss_that_blocks_writes_in_parts_and_peeks_is_told_once(bench):
    pkg_config = need("pkg-config")
    flags = subprocess.run([pkg_config, "--cflags", "--libs", "nss"], capture_output=True, text=True, check=False)
    if flags.returncode:
        raise Skip("the headers of NSS are not installed")
    program = compile_c(bench, "nssclient", NSS_CLIENT, *flags.stdout.split())
    plain, peer = bench.peer(), bench.peer(tls=True)
    request = request_file(bench, SIZE, f"/bytes/{SIZE}")
    argv = [program, str(plain.port), str(peer.port), request, str(answer_length(SIZE))]
    process = bench.hold(argv)
    sight = bench.sight("ssl", "--no-redact", "-p", str(process.pid))
    bench.release(process)
    counts = [int(n) for n in re.findall(r"\d+", bench.finish(process).decode())]
    check(all(counts), f"partial writes, writes that would block, peeks: {counts}")
    check_equal(plain.told()["requests"], 1, "requests without TLS")
    told = dict(peer.told(), port=peer.port)
    stream = sight.stop()

    check_plaintext(stream, process.pid, told, "nssclient", "libssl3.so")
    check_bodies(stream, process.pid, body(SIZE), body(SIZE))
    functions = {e["data"]["function"] for e in stream.select("ssl", "data", process.pid)}
    check_equal(functions, {"ssl_SecureRecv", "ssl_SecureSend"}, "functions")


def openssl_inside_a_library_of_another_name_is_exact_both_ways(bench):
    """Loaded while it is recorded, stripped, never seen before."""
    flags = ["-shared", "-fPIC", "-fvisibility=hidden", "-s", "-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic"]
    flags += [library_path("libssl.a"), library_path("libcrypto.a"), "-lpthread", "-ldl"]
    library = compile_c(bench, "libharmless.so", HARMLESS, *flags)
    peer = bench.peer(tls=True, delay_ms=DELAY_MS)
    request = request_file(bench, SIZE, f"/bytes/{SIZE}")
    argv = [PYTHON, "-I", "-c", TALK, library, str(peer.port), request, str(answer_length(SIZE))]
    process = bench.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sight = bench.sight("record", "--no-redact", "-p", str(process.pid))
    bench.release(process)
    bench.finish(process)
    check_library(sight, str(library))
    told = dict(peer.told(), port=peer.port)
    stream = sight.stop()

    check_plaintext(stream, process.pid, told, "python3", "libharmless.so")
    check_bodies(stream, process.pid, body(SIZE), body(SIZE))


TESTS = [
    plaintext_of_nsss_own_client_is_exact_both_ways,
    nss_that_blocks_writes_in_parts_and_peeks_is_told_once,
    openssl_inside_a_library_of_another_name_is_exact_both_ways,
]
