#!/bin/sh
# SPDX-License-Identifier: MIT
# What the demonstration records: a small "agent" that talks to a server over TLS and works on files.
# Usage: demo-client.sh PORT CERTIFICATE DIRECTORY
set -eu
url=https://127.0.0.1:$1
certificate=$2
cd "$3"

# --noproxy: a proxy in the environment would not know this server
curl -sS --noproxy '*' --cacert "$certificate" "$url/v1/models" >models.json
curl -sS --noproxy '*' --cacert "$certificate" -H 'Authorization: Bearer sk-demo-not-a-real-key-0123456789' \
	-d '{"model":"demo-model","stream":true,"messages":[{"role":"user","content":"Write a file"}]}' \
	"$url/v1/messages" >answer.txt

python3 - "$url" "$certificate" <<'END'
import ssl, sys, urllib.request
url, certificate = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificate)))
with opener.open(url + "/v1/models") as reply:
    open("python.json", "wb").write(reply.read())
END

grep -c delta answer.txt >count.tmp
mv count.tmp count.txt
mkdir work
ls /nonexistent 2>/dev/null || true # a command that fails
rm -r work
