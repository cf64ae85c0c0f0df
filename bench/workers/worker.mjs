import { produce } from 'nestjs-streaming/worker';
import { computing, producer } from './producers.mjs';

export default produce((/** @type {{ count: number, ms: number } | undefined} */ data) =>
  data ? producer(data.count, data.ms) : computing(),
);
