export { PostgresBroker } from './postgres.broker.js';
export type { PostgresBrokerOptions } from './postgres-broker.options.js';
