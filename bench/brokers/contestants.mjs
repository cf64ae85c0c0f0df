/** @typedef {readonly [file: string, name: string]} Program what a file in `cluster/contestants` exports under that name */
/**
 * @typedef {object} BrokerContestant
 * @property {string} name
 * @property {string} store a name in `STORES`
 * @property {Program} program
 * @property {string} [driver] the contestant with the driver alone
 * @property {boolean} [isRaw]
 * @property {{ limit?: number, per?: 'topic' }} [history]
 */

const FILE = '../../brokers/programs';

/** @type {readonly BrokerContestant[]} */
export const CONTESTANTS = [
  { name: 'ours, MemoryBroker', store: 'memory', program: [FILE, 'memory'] },
  { name: 'node-redis, XADD', store: 'redis', program: ['raw', 'xadd'], isRaw: true },
  { name: 'ours, RedisBroker, node-redis', store: 'redis', program: [FILE, 'redis'], driver: 'node-redis, XADD' },
  { name: 'ioredis, XADD', store: 'redis', program: [FILE, 'rawIoredis'], isRaw: true },
  { name: 'ours, RedisBroker, ioredis', store: 'redis', program: [FILE, 'ioredis'], driver: 'ioredis, XADD' },
  { name: 'JetStream, publish()', store: 'nats', program: [FILE, 'rawNats'], isRaw: true },
  { name: 'ours, NatsBroker', store: 'nats', program: [FILE, 'nats'], driver: 'JetStream, publish()' },
  { name: 'pg, INSERT', store: 'postgres', program: [FILE, 'rawPostgres'], isRaw: true },
  { name: 'ours, PostgresBroker', store: 'postgres', program: [FILE, 'postgres'], driver: 'pg, INSERT' },
];
