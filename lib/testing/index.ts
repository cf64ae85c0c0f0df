export type { StreamEnd, StreamedEvent } from './client/body/streamed-event.js';
export { type FakeClock, useFakeClock } from './client/fake-clock.js';
export { expectNoOpenStreams, expectOpenStreams, type OpenStreamsOptions } from './client/open-streams.js';
export { type StreamInit, streamOf } from './client/stream-of.js';
export type { TestStream } from './client/test-stream.js';
export { brokerContract, brokerRunsContract, brokerTopicsContract, runsContract } from './contract/broker-contract.js';
export type { BrokerContractSetup, ContractCase } from './contract/contract-setup.js';
