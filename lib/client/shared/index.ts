export {
  connectShared,
  type SharedOptions,
  type SharedPort,
  type SharedWorkerLike,
  type StreamWorker,
} from './connect-shared.js';
export { shareStreams } from './share-streams.js';
