export { NatsBroker } from './nats.broker.js';
export type { NatsBrokerOptions } from './nats-broker.options.js';
