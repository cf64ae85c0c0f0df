export { StreamingConsoleModule } from './streaming-console.module.js';
export type { StreamingConsoleOptions } from './streaming-console.options.js';
