/** The number of slots of a Redis Cluster. */
const SLOTS = 16_384;

/** The keys of one log. All of them live in one slot of a Cluster: their names contain the same text in braces. */
export class LogKeys {
  readonly stream: string;
  /** Contains the `run_id` of the server that last had the stream. */
  readonly run: string;
  /** Contains the processes in the roster. */
  readonly who: string;
  /** Contains the newest offset of each topic. */
  readonly index: string;

  constructor(prefix: string, log: string) {
    // Without another "}", a key of one log is never one of another log, and the braces are not empty, which Redis would not use.
    this.stream = `${prefix}:{${log.replace(/[%}]/g, encodeURIComponent)}}`;
    this.run = `${this.stream}:run`;
    this.who = `${this.stream}:who`;
    this.index = `${this.stream}:topics`;
  }

  /** Contains the id of the record that was appended with this `once`. */
  once(once: string): string {
    return `${this.stream}:once:${once}`;
  }

  /** The stream of a topic, and its channel. */
  topic(topic: string): string {
    return `${this.stream}:t:${topic}`;
  }

  /** Contains the figures of one process in the roster. */
  figures(process: string): string {
    return `${this.who}:${process}`;
  }

  /** A stream that ends a blocking read of one process. */
  wake(process: string): string {
    return `${this.stream}:wake:${process}`;
  }
}

/**
 * Returns the key of the log of a run, and those of its group: the logs with the same text before the last `/`, such as all runs of one registration. They
 * live in one slot of a Cluster, so that they share connections, however many there are.
 */
export function runKeysOf(prefix: string, log: string): { readonly group: LogKeys; readonly stream: string } {
  const slash = log.lastIndexOf('/');
  const end = slash > 0 ? slash : log.length;
  const group = new LogKeys(prefix, log.slice(0, end));
  // The keys of hubs have nothing or a colon behind the braces.
  return { group, stream: `${group.stream}${log.slice(end)}` };
}

/** Returns the slot of a key in a Redis Cluster, as the specification of Redis Cluster defines it. */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  return crc16(Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) % SLOTS;
}

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    }
  }
  return crc & 0xffff;
}
