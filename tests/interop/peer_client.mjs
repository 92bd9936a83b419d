// A client of Node's `ws`. Reads {url, protocols, options, operations} as JSON from its standard
// input, carries the operations out in order, and prints what happened as one JSON document:
// {protocol, events}. The operation "await" waits for the next event of a type. Given a `request`,
// {method, headers}, it makes that HTTP request instead, and prints the answer.

import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import WebSocket from 'ws';

const TIMEOUT = 20_000;

const { url, protocols, request, options, operations } = JSON.parse(await text(process.stdin));

const guard = setTimeout(() => {
  console.error(`not done in ${TIMEOUT} ms: ${JSON.stringify(events)}`);
  process.exit(1);
}, TIMEOUT);

const events = [];
const waiters = [];
const taken = {};

function record(event) {
  events.push(event);
  for (const wake of waiters.splice(0)) wake();
}

// Resolves once there is one more event of this type than were waited for before, or none can come.
async function next(type) {
  taken[type] = (taken[type] ?? 0) + 1;
  const has = (wanted, count) => events.filter((event) => event.type === wanted).length >= count;
  while (!has(type, taken[type]) && !has('close', 1)) {
    await new Promise((resolve) => waiters.push(resolve));
  }
}

// Messages are compared by their length and digest.
function describe(data) {
  return { length: data.length, sha256: createHash('sha256').update(data).digest('hex') };
}

// What to send is given as a string, or as a size: then it is 0, 1, 2 ... 127, 0, 1 ...
function payload({ string, size }) {
  return string ?? Buffer.from(Uint8Array.from({ length: size }, (_, i) => i % 128));
}

async function recordResponse(response) {
  const { statusCode: status, headers } = response;
  record({ type: 'response', status, headers, body: await text(response) });
}

function finish(result) {
  clearTimeout(guard);
  console.log(JSON.stringify(result));
  process.exit(0);
}

if (request) {
  httpRequest(url.replace('ws:', 'http:'), request)
    .on('response', async (response) => {
      await recordResponse(response);
      finish({ events });
    })
    .on('upgrade', () => finish({ events: [{ type: 'upgrade' }] }))
    .end();
  await new Promise(() => {});
}

const ws = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });

ws.on('open', () => record({ type: 'open' }));
ws.on('message', (data, binary) => record({ type: 'message', binary, ...describe(data) }));
ws.on('ping', (data) => record({ type: 'ping', data: data.toString() }));
ws.on('pong', (data) => record({ type: 'pong', data: data.toString() }));
ws.on('error', (error) => record({ type: 'error', message: error.message, code: error.code }));
ws.on('close', (code, reason) => record({ type: 'close', code, reason: reason.toString() }));
ws.on('unexpected-response', (_, response) => recordResponse(response));

for (const { op, ...rest } of operations) {
  switch (op) {
    case 'send':
      ws.send(payload(rest), { binary: rest.string === undefined, ...rest.options });
      break;
    case 'ping':
      ws.ping(rest.data);
      break;
    case 'pong':
      ws.pong(rest.data);
      break;
    case 'close':
      ws.close(rest.code, rest.reason);
      break;
    case 'terminate':
      ws.terminate();
      break;
    case 'await':
      await next(rest.type);
      break;
    default:
      throw new Error(`unknown operation ${op}`);
  }
}

finish({ protocol: ws.protocol, events });
