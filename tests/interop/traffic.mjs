// Messages of all sizes and kinds, for Node and for a browser: strings and Uint8Arrays.

function mulberry32(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const WORDS = [
  'alpha', 'beta', 'gamma', 'delta', 'grün', '𝄞', 'price', 'volume', 'timestamp', 'user',
  'subscribe', 'channel', '{"id": ', 'null', 'true', '1234567890', '\r\n', 'the same again',
];

export function messages(count, seed = 1) {
  const random = mulberry32(seed);
  const below = (n) => Math.floor(random() * n);
  const recent = [''];
  const found = [];
  for (let number = 0; number < count; number++) {
    let size = Math.floor(2 ** (random() * 14)) - 1;
    if (number % 1000 === 999) size = 2 ** 17 + below(1000);
    const kind = below(8);
    let data;
    if (kind === 0) {
      data = Uint8Array.from({ length: size }, () => below(256));
    } else if (kind === 1) {
      data = new Uint8Array(size);
    } else if (kind === 2) {
      data = recent[below(recent.length)];
    } else {
      const words = Array.from({ length: size / 6 + 1 }, () => WORDS[below(WORDS.length)]);
      data = words.join(' ').slice(0, size);
      // No half of a surrogate pair.
      if (!data.isWellFormed()) data = data.slice(0, -1);
      if (kind === 3) data = new TextEncoder().encode(data);
    }
    found.push(data);
    recent.push(data);
    if (recent.length > 20) recent.shift();
  }
  return found;
}

// A string is only ever a string.
export function same(sent, received) {
  if (typeof sent === 'string' || typeof received === 'string') return sent === received;
  return sent.length === received.length && sent.every((byte, i) => byte === received[i]);
}
