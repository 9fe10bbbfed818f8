<?php
// SPDX-License-Identifier: MIT
// client.php PORT: three requests, and what came back.
foreach ([["GET", "/bytes/5000", ""], ["POST", "/echo", str_repeat("x", 30000)], ["GET", "/bytes/100000", ""]] as [$method, $path, $body]) {
	$context = stream_context_create([
		"http" => ["method" => $method, "content" => $body],
		"ssl" => ["verify_peer" => false, "verify_peer_name" => false],
	]);
	echo $path, " ", hash("sha256", file_get_contents("https://127.0.0.1:" . $argv[1] . $path, false, $context)), "\n";
}
