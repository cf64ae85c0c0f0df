import type { Broker } from '../broker/broker.js';
import { Hub } from '../hub/hub.js';
import type { StreamLabels } from '../util/labels.js';

/** The log through which the processes that share a broker send commands to each other. */
export const CONTROL_LOG = '~control';

/** A process that lost its connection executes the commands that it has missed, if they are still kept. */
const KEPT = { limit: 1_000, ttl: 60_000 };
/** No command is dropped, as commands are executed as soon as they arrive. */
const QUEUE = { items: Infinity, bytes: Infinity };

/** Closes streams in all processes. `answer` is the name of the figure with which each process answers. */
export interface CloseCommand {
  readonly do: 'close';
  readonly labels: StreamLabels;
  readonly answer: string;
}

/** Makes all processes store their figures of a hub for some time. */
export interface CountCommand {
  readonly do: 'count';
  readonly hub: string;
}

export type Command = CloseCommand | CountCommand;

/** Receives commands. It ignores those that it does not know, as another version of the package may send them. */
export interface CommandListener {
  onClose(command: CloseCommand): void;
  onCount(command: CountCommand): void;
}

type Warn = (message: string, error?: unknown) => void;

/** Sends commands to all processes that share a broker, and receives those of the others. */
export class ControlLog {
  private constructor(
    private readonly hub: Hub,
    private readonly sender: string,
    private readonly warn: Warn,
  ) {}

  /** @param sender identifies this process */
  static async open(broker: Broker, sender: string, listener: CommandListener, warn: Warn): Promise<ControlLog> {
    const hub = await Hub.open({ name: CONTROL_LOG, history: KEPT, queue: QUEUE }, broker, warn);
    const log = new ControlLog(hub, sender, warn);
    log
      .receive(listener)
      .catch((error: unknown) => warn('Commands of other processes are not received any more', error));
    return log;
  }

  async send(command: Command): Promise<void> {
    await this.hub.publish({ ...command, sender: this.sender });
  }

  close(): Promise<void> {
    return this.hub.close();
  }

  private async receive(listener: CommandListener): Promise<void> {
    for await (const { type, data } of this.hub.subscribe()) {
      try {
        if (type === 'reset') {
          this.warn('Commands of other processes were lost: streams that they have closed may still be open here');
        } else {
          this.execute(data as Command & { readonly sender: string }, listener);
        }
      } catch (error) {
        this.warn('A command of another process is invalid', error);
      }
    }
  }

  private execute(command: Command & { readonly sender: string }, listener: CommandListener): void {
    if (command.do === 'close' && command.sender !== this.sender) {
      listener.onClose(command);
    } else if (command.do === 'count') {
      listener.onCount(command);
    }
  }
}
