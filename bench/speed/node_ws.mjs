// Node's ws, with bufferutil. Its usage is that of serial.py.
import { WebSocket } from 'ws';

const [port, kind, size, count] = process.argv.slice(2);
const binary = kind === 'binary';
const data = Buffer.alloc(Number(size));
for (let i = 0; i < data.length; i++) data[i] = Math.floor(Math.random() * 127);

const ws = new WebSocket(`ws://127.0.0.1:${port}/`, {
  maxPayload: 600 * 2 ** 20,
  perMessageDeflate: false,
});
let left = Number(count);
let start;

ws.on('open', () => {
  start = process.hrtime.bigint();
  ws.send(data, { binary });
});
ws.on('message', (answer) => {
  if (--left) {
    ws.send(data, { binary });
    return;
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (!answer.equals(data)) throw new Error('the answer differs from what was sent');
  console.log(seconds);
  ws.close();
});
