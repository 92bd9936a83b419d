// Node's ws, with bufferutil.
//
// usage: node_ws.mjs PORT [echo|push|broadcast] [--cert FILE --key FILE]
//                    [--count MESSAGES] [--size BYTES] [--max-size BYTES] [--messages FILE]
//                    [--deflate BITS --level N --mem-level N [--no-takeover]]
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
    messages: { type: 'string' },
    deflate: { type: 'string' },
    level: { type: 'string' },
    'mem-level': { type: 'string' },
    'no-takeover': { type: 'boolean', default: false },
    'max-size': { type: 'string', default: String(2 ** 25) },
  },
});
const [port, mode = 'echo'] = positionals;
const count = Number(values.count);
const size = Number(values.size);
const message = FILLER.repeat(Math.ceil(size / FILLER.length)).slice(0, size);
const messages = values.messages
  ? readFileSync(values.messages, 'latin1').match(new RegExp(`.{${size}}`, 'gs'))
  : [message];
let turn = 0;

const deflate = values.deflate && {
  serverNoContextTakeover: values['no-takeover'],
  clientNoContextTakeover: values['no-takeover'],
  serverMaxWindowBits: Number(values.deflate),
  clientMaxWindowBits: Number(values.deflate),
  zlibDeflateOptions: { level: Number(values.level), memLevel: Number(values['mem-level']) },
  threshold: 0,
};

const http = values.cert
  ? createSecureServer({ cert: readFileSync(values.cert), key: readFileSync(values.key) })
  : createPlainServer();
const server = new WebSocketServer({
  server: http,
  perMessageDeflate: deflate || false,
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
    const message = messages[turn++ % messages.length];
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
