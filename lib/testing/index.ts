export type { StreamEnd, StreamedEvent } from './body/streamed-event.js';
export { brokerContract } from './broker-contract.js';
export type { BrokerContractSetup, ContractCase } from './contract-setup.js';
export { type FakeClock, useFakeClock } from './fake-clock.js';
export { expectNoOpenStreams, expectOpenStreams, type OpenStreamsOptions } from './open-streams.js';
export { type StreamInit, streamOf } from './stream-of.js';
export type { TestStream } from './test-stream.js';
