export type {
  Broker,
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerStatus,
  BrokerTail,
} from './broker/broker.js';
export type { BrokerCondition, BrokerRuns } from './broker/broker-runs.js';
export { MemoryBroker } from './broker/memory.broker.js';
export type { BrokerRoster } from './broker/roster.js';
export type { StreamState } from './connection/lifecycle.js';
export { StreamRegistry } from './connection/registry/stream-registry.js';
export type { StreamGroup, StreamSnapshot } from './connection/registry/stream-tally.js';
export type { StreamHooks } from './connection/stream-connection.js';
export { StreamConnection } from './connection/stream-connection.js';
export { ConnectedStream } from './decorators/connected-stream.decorator.js';
export { getHubToken, InjectHub } from './decorators/inject-hub.decorator.js';
export { getRunsToken, InjectRuns } from './decorators/inject-runs.decorator.js';
export { LastEventId } from './decorators/last-event-id.decorator.js';
export { Sse } from './decorators/sse.decorator.js';
export { Stream } from './decorators/stream.decorator.js';
export { StreamSignal } from './decorators/stream-signal.decorator.js';
export { UseStreamHooks } from './decorators/use-stream-hooks.decorator.js';
export { event, type StreamEvent } from './event/event.js';
export type { HubEvent, HubReset } from './event/hub-event.js';
export { defineFormat } from './format/define-format.js';
export type { StreamErrorBody, StreamFormat } from './format/format.js';
export type { StreamFormatName } from './format/formats.js';
export { formatSse } from './format/sse.format.js';
export { Hub } from './hub/hub.js';
export type { HubOptions, HubPresence, PublishOptions, SubscribeOptions } from './hub/hub.options.js';
export type { HubOverflowPolicy } from './hub/overflow.js';
export { HubSubscription } from './hub/subscription.js';
export { StreamingModule } from './module/streaming.module.js';
export { StreamingHealth } from './module/streaming-health.js';
export type {
  SseOptions,
  StreamingModuleOptions,
  StreamLimits,
  StreamOptions,
  StreamProtocol,
  WebSocketOptions,
} from './options/streaming.options.js';
export type {
  JoinOptions,
  Run,
  RunInfo,
  RunStatus,
  RunsOptions,
  StartOptions,
} from './run/run.options.js';
export { RunView } from './run/run-view.js';
export { Runs } from './run/runs.js';
export { abortable } from './source/abortable.js';
export { type FlushMark, flush } from './source/flush.js';
export type { StreamCloseReason } from './util/close-reason.js';
export {
  type StreamCloseCode,
  StreamCloseError,
  StreamError,
  type StreamErrorCode,
  StreamStateError,
} from './util/errors.js';
export type { StreamLabels } from './util/labels.js';
export type { OverflowPolicy, QueueLimits } from './util/queue-limits.js';
