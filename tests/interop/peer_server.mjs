// A server of Node's `ws` on a free loopback port, which is the one line that it prints. The path
// picks what it does with a connection; the query says how.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const observers = new Set();

const behaviours = {
  '/echo': (ws) => {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  },

  // Sends a message back as `count` fragments, with a ping before each that continues it.
  '/fragments': (ws, query) => {
    const count = Number(query.get('count'));
    ws.on('message', (data, isBinary) => {
      const size = Math.ceil(data.length / count);
      for (let i = 0; i < count; i++) {
        if (i > 0) ws.ping(`between ${i}`);
        const part = data.subarray(i * size, (i + 1) * size);
        ws.send(part, { binary: isBinary, fin: i === count - 1 });
      }
    });
  },

  // Sends a ping, and then a message that tells what came back.
  '/ping': (ws, query) => {
    ws.on('pong', (data) => ws.send(`pong ${data}`));
    ws.ping(query.get('data'));
  },

  '/request': (ws, query, request) => {
    ws.send(JSON.stringify({ url: request.url, headers: request.headers }));
  },

  '/close': (ws, query) => {
    if (query.has('code')) ws.close(Number(query.get('code')), query.get('reason'));
    else ws.close();
  },

  '/terminate': (ws) => ws.terminate(),

  // Gets a message for every connection with an `id` in its query that ends.
  '/observe': (ws) => {
    observers.add(ws);
    ws.on('close', () => observers.delete(ws));
    ws.send('observing');
  },
};

const server = createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.end('not a WebSocket\n');
});

const wss = new WebSocketServer({
  server,
  maxPayload: 2 ** 24,
  perMessageDeflate: false,
  handleProtocols: (protocols) => (protocols.has('second') ? 'second' : false),
  verifyClient: (info, callback) => {
    const { pathname, searchParams } = new URL(info.req.url, 'ws://localhost');
    if (pathname !== '/refuse') callback(true);
    else callback(false, Number(searchParams.get('status')), undefined, { 'X-Why': 'refused' });
  },
});

wss.on('connection', (ws, request) => {
  const { pathname, searchParams: query } = new URL(request.url, 'ws://localhost');
  ws.on('error', () => {});
  ws.on('close', (code, reason) => {
    if (!query.has('id')) return;
    const event = { id: query.get('id'), code, reason: reason.toString() };
    for (const observer of observers) observer.send(JSON.stringify(event));
  });
  behaviours[pathname](ws, query, request);
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
