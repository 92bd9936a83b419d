// A server of Node's `ws` on a free loopback port, which is the one line that it prints. The path
// picks what it does with a connection; the query says how. `deflate` in it has the options of
// permessage-deflate, as JSON.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const behaviours = {
  '/echo': (ws) => {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  },

  // Sends messages back in all the ways that there are.
  '/vary': (ws) => {
    let number = 0;
    ws.on('message', (data, binary) => {
      const third = Math.floor(data.length / 3);
      const way = number++ % 8;
      if (way === 1 || way === 2) {
        ws.send(data.subarray(0, third), { binary, fin: false, compress: way === 1 });
        ws.ping();
        ws.send(data.subarray(third, 2 * third), { binary, fin: false });
        ws.send(data.subarray(2 * third), { binary, fin: true });
      } else {
        ws.send(data, { binary, compress: way !== 0 });
      }
    });
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
};

const server = createServer();

server.on('upgrade', (request, socket, head) => {
  const { pathname, searchParams: query } = new URL(request.url, 'ws://localhost');
  const perMessageDeflate = JSON.parse(query.get('deflate') ?? 'false');
  const wss = new WebSocketServer({ noServer: true, maxPayload: 2 ** 24, perMessageDeflate });
  wss.handleUpgrade(request, socket, head, (ws) => {
    ws.on('error', () => {});
    behaviours[pathname](ws, query, request);
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
