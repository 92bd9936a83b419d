// Node's ws, with bufferutil.
//
// usage: node_ws.mjs PORT [echo|push|broadcast] [--cert FILE --key FILE]
//                    [--count MESSAGES] [--size BYTES] [--max-size BYTES]
import { readFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const PUSH_LIMIT = 2 ** 16;
const FILLER = '0123456789abcdef';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    cert: { type: 'string' },
    key: { type: 'string' },
    count: { type: 'string', default: '1' },
    size: { type: 'string', default: '128' },
    'max-size': { type: 'string', default: String(2 ** 25) },
  },
});
const [port, mode = 'echo'] = positionals;
const count = Number(values.count);
const size = Number(values.size);
const message = FILLER.repeat(Math.ceil(size / FILLER.length)).slice(0, size);

const http = values.cert
  ? createSecureServer({ cert: readFileSync(values.cert), key: readFileSync(values.key) })
  : createPlainServer();
const server = new WebSocketServer({
  server: http,
  perMessageDeflate: false,
  maxPayload: Number(values['max-size']),
  clientTracking: mode === 'broadcast',
});
const pushed = new Set();

function push() {
  for (const ws of pushed) {
    if (ws.bufferedAmount > PUSH_LIMIT) continue;
    for (let i = 0; i < count; i++) ws.send(message);
  }
  if (pushed.size) setImmediate(push);
}

function broadcast() {
  for (let i = 0; i < count; i++) {
    for (const ws of server.clients) ws.send(message);
  }
}

server.on('connection', (ws) => {
  ws.on('error', () => {});
  ws.on('close', () => pushed.delete(ws));
  if (mode === 'echo') {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  } else if (mode === 'push') {
    ws.on('message', () => {
      pushed.add(ws);
      if (pushed.size === 1) setImmediate(push);
    });
  } else {
    ws.on('message', () => setImmediate(broadcast));
  }
});
http.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 });
