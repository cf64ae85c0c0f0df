export type { StreamReduction, UseStreamOptions, UseStreamResult } from './options.js';
export { type UseStreamUrl, useStream } from './use-stream.js';
