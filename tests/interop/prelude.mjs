// What the scripts of the tests have without importing it: Node's ws, what it stands on, and `tell`.

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import tls from 'node:tls';
import WebSocket, { createWebSocketStream, WebSocketServer } from 'ws';

// One line of JSON to the test.
function tell(...values) {
  console.log(JSON.stringify(values));
}

// Tells every event of a connection; text as it is, bytes in hex.
function watch(ws) {
  const shown = (data, isBinary) => data.toString(isBinary ? 'hex' : 'utf8');
  ws.on('open', () => tell('open'));
  ws.on('message', (data, isBinary) => tell('message', shown(data, isBinary), isBinary));
  ws.on('ping', (data) => tell('ping', data.toString()));
  ws.on('pong', (data) => tell('pong', data.toString()));
  ws.on('error', (error) => tell('error', error.message, error.code ?? null));
  ws.on('close', (code, reason) => tell('close', code, reason.toString()));
  return ws;
}

// Listens on a free loopback port and tells it.
async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  tell(server.address().port);
}

const given = JSON.parse(process.env.GIVEN);
const modules = { http, https, net, tls, once, text };
const ws = { WebSocket, WebSocketServer, createWebSocketStream };
Object.assign(globalThis, modules, ws, { tell, watch, listen }, given);
