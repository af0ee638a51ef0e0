/** What is sent and has to come back: messages of mixed sizes and scripts. The same in Node and in a browser. */

const SCRIPTS = [
  'plain ASCII, "quoted" \\ and / slashed',
  'ä é ß ñ \u00ad\u00ff\u0100',
  '\u0391\u03b8\u03ae\u03bd\u03b1 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u0600\u0604\u070f',
  '日本語 한국어 中文 \u302b\uf900\ufb4e',
  '🐟🎣 \u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u{10ffff} \u{1d11e}',
  'lines\u2028and\u2029paragraphs\r\n\t\0\u0001\u001f\u007f',
  '100 % %41 %zz %e4%b8 + & = # ?',
  '\u200c\u200d\u200e\u2060\u206f\ufeff\ufff0\ufffe\uffff',
  '</script><!-- a["b"] c[3000,"x"] data: h\n\n',
  'half a pair: \ud83d and \udc00, and a whole one \ud83d\ude00',
  '',
];

/** Bytes, roughly: mostly small, some past every buffer. */
const SIZES = [0, 1, 10, 80, 125, 126, 700, 20, 3, 1_400, 60, 5_000];

/**
 * The message with this number; its number is in it.
 * @param {number} n
 */
export function message(n) {
  const script = SCRIPTS[n % SCRIPTS.length];
  const size = n % 1_000 === 999 ? 40_000 : SIZES[(n * 7) % SIZES.length];
  const filled = script.length > 0 ? script.repeat(Math.ceil(size / script.length)) : '';
  // Cut anywhere, between the halves of a pair too.
  return `${n} ${script}${filled.slice(0, size)}`;
}

/**
 * As it comes back: what is half a pair cannot be said in UTF-8, and is replaced, over every transport alike.
 * @param {string} text
 */
export function whole(text) {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}

/**
 * Sends messages and waits for their echoes.
 * @param {{ send(data: string): void, onmessage: ((event: { data: string }) => void) | null, onclose: ((event: { code: number, reason: string }) => void) | null }} socket open
 * @param {number} count
 * @param {number} atOnce how many may be on their way
 * @returns {Promise<number>} how many came back, all of them as they were and in order
 */
export function echo(socket, count, atOnce) {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let heard = 0;
    const more = () => {
      for (; sent < count && sent - heard < atOnce; sent += 1) socket.send(message(sent));
    };
    socket.onmessage = ({ data }) => {
      const expected = whole(message(heard));
      if (data !== expected) return reject(new Error(`message ${heard}: ${JSON.stringify(expected)} came back as ${JSON.stringify(data)}`));
      heard += 1;
      if (heard === count) return resolve(heard);
      // By many at a time, as whoever polls sends them.
      if (sent - heard <= atOnce / 2) more();
    };
    socket.onclose = ({ code, reason }) => reject(new Error(`closed after ${heard} of ${count} echoes: ${code} ${reason}`));
    more();
  });
}
