// Verifies a delivery with the library of Standard Webhooks: {secret, headers, body} on stdin, body in base64.
"use strict";
const { Webhook } = require("standardwebhooks");

const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", () => {
  const { secret, headers, body } = JSON.parse(Buffer.concat(chunks));
  const verified = new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
  process.stdout.write(JSON.stringify(verified));
});
