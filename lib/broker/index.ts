export type {
  Broker,
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerStatus,
  BrokerTail,
} from './broker.js';
export type { BrokerCondition, BrokerRuns } from './broker-runs.js';
export type {
  BrokerTopicListener,
  BrokerTopics,
  BrokerTopicTail,
  TopicPage,
  TopicRecords,
  TopicRequest,
  TopicRetention,
} from './broker-topics.js';
export type { BrokerRoster } from './roster.js';
