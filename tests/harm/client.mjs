// SPDX-License-Identifier: MIT
// client.mjs PORT: the same requests as the other clients here make, for node, bun and deno.
import https from "node:https";
import crypto from "node:crypto";
import process from "node:process";

const port = process.argv[2];

function ask(method, path, body) {
	return new Promise((resolve, reject) => {
		const options = {host: "127.0.0.1", port, path, method, rejectUnauthorized: false};
		const request = https.request(options, (response) => {
			const sum = crypto.createHash("sha256");
			response.on("data", (d) => sum.update(d));
			response.on("end", () => resolve(`${path} ${sum.digest("hex")}`));
		});
		request.on("error", reject);
		request.end(body);
	});
}

// Enough that what is compiled late is compiled.
let x = 1;
for (let i = 0; i < 2000000; i++) x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff;
console.log(x);
console.log(await ask("GET", "/bytes/5000"));
console.log(await ask("POST", "/echo", Buffer.alloc(30000, "x")));
console.log(await ask("GET", "/bytes/100000"));
