export { brokerContract } from './broker-contract.js';
export type { BrokerContractSetup, ContractCase } from './contract-setup.js';
