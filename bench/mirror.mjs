// Node's ws in the benchmarks of mirror.py.
//
// usage: mirror.mjs < orders
//
// An order is a line: `parser KIND SIZE LOOPS` or `sender masked|unmasked SIZE LOOPS`. The answer
// is a line with the seconds of processor time that the loops took.
import { createInterface } from 'node:readline';
import { Receiver, Sender } from 'ws';

const WARMUP = 200; // milliseconds, in which the code is compiled
const OPCODES = { text: 1, binary: 2, ping: 9 };
// The receiver unmasks a frame where it is, so that every other time the payload is what was
// masked. With this key both are ASCII.
const KEY = Buffer.from([1, 2, 3, 4]);

function maskedFrame(kind, size) {
  const header = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
  header[0] = 0x80 | OPCODES[kind];
  header[1] = 0x80 | (size < 126 ? size : size < 65536 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(size, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([header, KEY, Buffer.alloc(size, 'a')]);
}

// One frame a write, the next one when the receiver has taken it.
function parser(kind, size) {
  const frame = maskedFrame(kind, size);
  const receiver = new Receiver({ isServer: true });
  let received = 0;
  receiver.on('error', (error) => {
    throw error;
  });
  receiver.on(kind === 'ping' ? 'ping' : 'message', (data) => {
    if (data.length !== size) throw new Error(`${data.length} bytes came, not ${size}`);
    received++;
  });
  return (loops) =>
    new Promise((resolve, reject) => {
      let left = loops;
      received = 0;
      const next = () => {
        if (left--) receiver.write(frame, next);
        else if (received === loops) resolve();
        else reject(new Error(`${received} messages came, not ${loops}`));
      };
      next();
    });
}

function sender(kind, size) {
  const data = Buffer.alloc(size, 'a');
  const mask = kind === 'masked';
  // As ws itself sends data that it may not change, which it does only when it masks.
  const options = { fin: true, rsv1: false, mask, readOnly: mask, opcode: OPCODES.binary };
  return (loops) => {
    for (let i = 0; i < loops; i++) Sender.frame(data, options);
  };
}

const works = { parser, sender };
const made = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const [work, kind, size, loops] = line.split(' ');
  const name = `${work} ${kind} ${size}`;
  if (!made.has(name)) {
    const run = works[work](kind, Number(size));
    const until = performance.now() + WARMUP;
    while (performance.now() < until) await run(10);
    made.set(name, run);
  }
  const run = made.get(name);
  const start = process.cpuUsage();
  await run(Number(loops));
  const { user, system } = process.cpuUsage(start);
  console.log((user + system) / 1e6);
}
