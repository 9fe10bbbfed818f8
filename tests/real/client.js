// SPDX-License-Identifier: MIT
// client.js PORT BODY-FILE ANSWER-FILE: waits for a line, then sends one request.
'use strict';

const fs = require('fs');
const https = require('https');

const [port, bodyFile, answerFile] = process.argv.slice(2);

process.stdin.once('data', () => {
	const body = fs.readFileSync(bodyFile);
	const request = https.request(
		{
			host: '127.0.0.1',
			port,
			path: '/v1/complete',
			method: 'POST',
			rejectUnauthorized: false,
			headers: { 'Content-Length': body.length },
		},
		(response) => {
			const parts = [];
			response.on('data', (part) => parts.push(part));
			response.on('end', () => {
				fs.writeFileSync(answerFile, Buffer.concat(parts));
				process.exit(0);
			});
		},
	);
	request.on('error', (e) => {
		console.error(e);
		process.exit(1);
	});
	request.end(body);
});
