import { type ClientStream, type ConnectOptions, connect, type ResumeStore, type StreamUrl } from '../client/index.js';
import type { ComponentOptions } from './options.js';

/** What a component has rendered with. */
export interface Rendered {
  readonly url: StreamUrl;
  readonly options: ComponentOptions;
}

/** The id after which the next connection resumes. `undefined`: the one that the option `resume` has. */
export interface KeptId {
  id: string | undefined;
}

/**
 * Opens a stream.
 * @param latest returns what the last render has given: its URL and headers are used for each attempt
 */
export function openStream(latest: () => Rendered, kept: KeptId): ClientStream {
  const { url, options } = latest();
  return connect(typeof url === 'function' ? () => fresh(latest().url) : url, {
    ...options,
    headers: [options.as].flat().includes('ws') ? options.headers : headersOf(latest),
    resume: options.resume !== false && resumeOf(options, kept),
  });
}

function fresh<V>(value: V | (() => V)): V {
  return typeof value === 'function' ? (value as () => V)() : value;
}

function headersOf(latest: () => Rendered): ConnectOptions['headers'] {
  return async () => (await fresh(latest().options.headers)) ?? {};
}

/** Keeps the id here, and where the user wants it to be kept. */
function resumeOf({ key, resume }: ComponentOptions, kept: KeptId): ResumeStore {
  const store = resume && 'getItem' in resume ? storeOf(resume) : resume || undefined;
  return {
    get: (byDefault) => kept.id ?? store?.get(key ?? byDefault),
    set(byDefault, id) {
      kept.id = id;
      return store?.set(key ?? byDefault, id);
    },
  };
}

function storeOf(storage: Extract<ResumeStore, { getItem: unknown }>): Exclude<ResumeStore, { getItem: unknown }> {
  return { get: (key) => storage.getItem(key), set: (key, id) => storage.setItem(key, id) };
}
