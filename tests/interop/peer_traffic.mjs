// A client of Node's `ws` that exchanges messages with an echo server. Reads a list of jobs, {url,
// deflate, count}, as JSON from its standard input, and prints for each what was negotiated, and
// which message did not come back as it was.

import { text } from 'node:stream/consumers';
import WebSocket from 'ws';
import { messages, same } from './traffic.mjs';

const TIMEOUT = 60_000;
// As many messages are on their way at once. `ws` terminates a connection on which 60 pings
// wait, behind its own messages, to be answered.
const WINDOW = 400;

function send(ws, number, data) {
  const binary = typeof data !== 'string';
  const buffer = Buffer.from(data);
  const third = Math.floor(buffer.length / 3);
  switch (number % 8) {
    case 0:
      ws.send(data, { compress: false });
      break;
    case 1:
    case 2:
      // The fragments are cut at bytes, also within a character.
      ws.send(buffer.subarray(0, third), { binary, fin: false, compress: number % 8 === 1 });
      ws.ping();
      ws.send(buffer.subarray(third, 2 * third), { binary, fin: false });
      ws.send(buffer.subarray(2 * third), { binary, fin: true });
      break;
    default:
      ws.send(data);
  }
}

function run({ url, deflate, count }) {
  return new Promise((resolve, reject) => {
    const sent = messages(count);
    const ws = new WebSocket(url, { perMessageDeflate: deflate, maxPayload: 2 ** 24 });
    const guard = setTimeout(() => reject(new Error(`${url}: ${received} came back`)), TIMEOUT);
    let next = 0;
    let received = 0;
    let wrong = null;
    let header;
    ws.on('upgrade', (response) => { header = response.headers['sec-websocket-extensions']; });
    const fill = () => {
      for (; next < count && next < received + WINDOW; next++) send(ws, next, sent[next]);
    };
    ws.on('open', fill);
    ws.on('message', (data, binary) => {
      if (wrong === null && !same(sent[received], binary ? data : data.toString())) {
        wrong = received;
      }
      received += 1;
      if (received === count) ws.close(1000);
      else fill();
    });
    ws.on('error', reject);
    ws.on('close', (code) => {
      clearTimeout(guard);
      resolve({ header, received, wrong, code });
    });
  });
}

const results = [];
for (const job of JSON.parse(await text(process.stdin))) results.push(await run(job));
console.log(JSON.stringify(results));
