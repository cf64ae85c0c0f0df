export { connect } from './connect.js';
export { StreamClientError, type StreamClientErrorCode, StreamResponseError } from './errors.js';
export type {
  ClientState,
  ClientStream,
  ConnectOptions,
  ResumeStore,
  RetryOptions,
  StreamHeaders,
  StreamItem,
  StreamLagged,
  StreamListeners,
  StreamReset,
  StreamTransport,
  StreamUrl,
} from './options.js';
export type { Jsonified, StreamOf } from './stream-of.js';
