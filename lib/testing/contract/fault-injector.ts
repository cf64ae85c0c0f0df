import type { Broker } from '../../broker/broker.js';
import type { FaultCommand } from './commands.js';
import type { BrokerContractSetup } from './contract-setup.js';
import type { ModelLog } from './model-log.js';

/** Causes the faults of an interleaving. */
export class FaultInjector {
  private frozen = false;

  constructor(
    private readonly setup: BrokerContractSetup,
    private readonly name: string,
    private readonly brokers: readonly Broker[],
    private readonly log: ModelLog,
  ) {}

  async perform(command: FaultCommand): Promise<void> {
    switch (command.do) {
      case 'cut':
        this.log.disturbed = true;
        await this.setup.cut?.(this.brokers[command.hub % this.brokers.length] as Broker);
        return;
      case 'rewind':
        return this.rewind(command.count);
      case 'freeze':
        return this.freeze();
      case 'thaw':
        return this.thaw();
    }
  }

  async thaw(): Promise<void> {
    if (this.frozen) {
      this.frozen = false;
      await this.setup.thaw?.();
    }
  }

  private async freeze(): Promise<void> {
    if (!this.frozen) {
      this.frozen = true;
      this.log.disturbed = true;
      await this.setup.freeze?.();
    }
  }

  /** At most once in a run, since it takes long to restart a server. */
  private async rewind(count: number): Promise<void> {
    if (!this.log.rewound) {
      await this.thaw();
      this.log.disturbed = true;
      this.log.rewound = true;
      await this.setup.rewind?.(this.name, count);
    }
  }
}
