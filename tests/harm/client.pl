# SPDX-License-Identifier: MIT
# client.pl PORT: three requests, and what came back.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IO::Socket::SSL;

for (["GET", "/bytes/5000", ""], ["POST", "/echo", "x" x 30000], ["GET", "/bytes/100000", ""]) {
	my ($method, $path, $body) = @$_;
	my $s = IO::Socket::SSL->new(PeerHost => "127.0.0.1", PeerPort => $ARGV[0], SSL_verify_mode => SSL_VERIFY_NONE)
		or die "connect: $SSL_ERROR";
	print $s "$method $path HTTP/1.1\r\nConnection: close\r\nContent-Length: ", length($body), "\r\n\r\n", $body;
	local $/;
	my $answer = <$s>;
	print "$path ", sha256_hex($answer), "\n";
}
