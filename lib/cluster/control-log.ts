import type { Broker } from '../broker/broker.js';
import type { ServerCloseCode } from '../util/close-reason.js';
import type { StreamLabels } from '../util/labels.js';
import { MessageLog } from './message-log.js';

/** The log through which the processes that share a broker send commands to each other. */
export const CONTROL_LOG = '~control';

/** How many commands the log keeps. */
export const MOST_COMMANDS = 1_000;

/** A process that lost its connection executes the commands that it has missed, if they are still kept. A new process executes all that are kept. */
const KEPT = { limit: MOST_COMMANDS, ttl: 60_000 };

/** Closes streams in all processes. `answer` is the name of the figure with which each process answers. */
export interface CloseCommand {
  readonly do: 'close';
  readonly labels: StreamLabels;
  readonly answer: string;
  /** The close code of the streams. Earlier versions of the package do not send it. */
  readonly code?: ServerCloseCode;
  /** When it was sent, on the clock of the sender, in milliseconds since the epoch. Earlier versions do not send it. */
  readonly at?: number;
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

/** A command with the process that has sent it. */
type SentCommand = Command & { readonly sender: string };

/** Sends commands to all processes that share a broker, and receives those of the others. */
export class ControlLog {
  private constructor(
    private readonly log: MessageLog<SentCommand>,
    private readonly sender: string,
  ) {}

  /** @param sender identifies this process */
  static async open(broker: Broker, sender: string, listener: CommandListener, warn: Warn): Promise<ControlLog> {
    const log = await MessageLog.open<SentCommand>(CONTROL_LOG, KEPT, broker, warn);
    log.receive(MOST_COMMANDS, {
      onMessage: (command) => {
        if (command.do === 'close' && command.sender !== sender) {
          listener.onClose(command);
        } else if (command.do === 'count') {
          listener.onCount(command);
        }
      },
      onReset: () =>
        warn('Commands of other processes were lost: streams that they have closed may still be open here'),
    });
    return new ControlLog(log, sender);
  }

  send(command: Command): Promise<void> {
    return this.log.send({ ...command, sender: this.sender });
  }

  close(): Promise<void> {
    return this.log.close();
  }
}
