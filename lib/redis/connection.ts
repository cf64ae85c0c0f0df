import { atMost } from '../util/at-most.js';
import { Deadline } from '../util/deadline.js';
import { textOf } from '../util/error-text.js';
import type { OnMessage, Wire } from './driver.js';
import { isAnswer, isElsewhere } from './redis-errors.js';
import type { Script } from './scripts.js';

/** A command that was sent. Exactly one of its methods is called, once. */
export interface Command {
  /** Redis has answered. */
  onAnswer(answer: unknown): void;
  /** Redis has answered with an error: the command was not run. */
  onError(message: string): void;
  /** The server does not serve the key: the command was not run, and the connection is about to be lost. */
  onElsewhere(message: string): void;
  /** The connection is lost: the command may or may not have been run. */
  onLost(message: string): void;
}

/**
 * One connection, from the time at which it is established until it is lost. Answers come in the order of the commands. The broker does not rely on the
 * driver to settle its promises: if the oldest command is not answered in time, the connection is lost.
 */
export class Connection {
  private readonly commands: Command[] = [];
  private readonly sentAt: number[] = [];
  /** The index of the oldest command that is not answered. */
  private oldest = 0;
  /** One deadline watches the oldest command. It is not restarted for every command. */
  private readonly deadline = new Deadline(() => this.onPassed());
  /** Why no more commands are sent. */
  private retired: string | undefined;
  private lost = false;

  /**
   * @param timeout how long Redis may take to answer, in milliseconds
   * @param onGone called once, when the connection is lost and all its commands have ended
   */
  constructor(
    private readonly wire: Wire,
    private readonly timeout: number,
    private readonly onGone: (reason: string) => void,
  ) {}

  /** Whether commands can be sent. */
  get usable(): boolean {
    return this.retired === undefined;
  }

  /** Sends a command. Has no effect if the connection is not usable: check that first. */
  send(args: string[], command: Command): void {
    this.commands.push(command);
    this.sentAt.push(performance.now());
    this.deadline.start(this.timeout);
    this.wire.send(args).then(this.onAnswer, this.onError);
  }

  /** Sends a command, and resolves to its answer. */
  request(args: string[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.retired !== undefined) {
        reject(new Error(this.retired));
        return;
      }
      const fail = (message: string): void => reject(new Error(message));
      this.send(args, { onAnswer: resolve, onError: fail, onElsewhere: fail, onLost: fail });
    });
  }

  /** Runs a script, which Redis may not know yet. */
  async run({ sha, text }: Script, keys: readonly string[], ...args: readonly string[]): Promise<unknown> {
    const rest = [`${keys.length}`, ...keys, ...args];
    try {
      return await this.request(['EVALSHA', sha, ...rest]);
    } catch (error) {
      if (!textOf(error).startsWith('NOSCRIPT')) {
        throw error;
      }
      return this.request(['EVAL', text, ...rest]);
    }
  }

  /** Subscribes to channels. Only PING can be sent after that. */
  subscribe(channels: readonly string[], listener: OnMessage): Promise<void> {
    return this.inTime(this.wire.subscribe(channels, listener));
  }

  /** Ends the subscriptions to channels that have the same listener. */
  unsubscribe(channels: readonly string[]): Promise<void> {
    return this.inTime(this.wire.unsubscribe(channels));
  }

  /** Ends the connection at once. */
  lose(reason: string): void {
    this.retired ??= reason;
    if (this.lost) {
      return;
    }
    this.lost = true;
    this.deadline.clear();
    this.wire.destroy();
    const commands = this.commands.splice(this.oldest);
    for (const command of commands) {
      command.onLost(reason);
    }
    this.onGone(reason);
  }

  private async inTime(answer: Promise<unknown>): Promise<void> {
    if (!(await atMost(this.timeout, answer))) {
      const reason = `it did not answer within ${this.timeout} ms`;
      this.lose(reason);
      throw new Error(reason);
    }
  }

  /** Sends no more commands, and ends the connection when those that were sent are answered. */
  private retire(reason: string): void {
    this.retired ??= reason;
    if (this.oldest === this.commands.length) {
      this.lose(reason);
    }
  }

  private readonly onAnswer = (answer: unknown): void => {
    if (!this.lost) {
      this.shift().onAnswer(answer);
      this.afterAnswer();
    }
  };

  private readonly onError = (error: unknown): void => {
    if (this.lost) {
      return;
    }
    const message = textOf(error);
    if (!isAnswer(message)) {
      this.lose(message);
    } else if (isElsewhere(message)) {
      this.retired ??= message;
      this.shift().onElsewhere(message);
      this.retire(message);
    } else {
      this.shift().onError(message);
      this.afterAnswer();
    }
  };

  private afterAnswer(): void {
    if (this.retired !== undefined) {
      this.retire(this.retired);
    }
  }

  private shift(): Command {
    const command = this.commands[this.oldest++] as Command;
    if (this.oldest === this.commands.length) {
      this.commands.length = 0;
      this.sentAt.length = 0;
      this.oldest = 0;
    } else if (this.oldest > 1_000) {
      this.commands.splice(0, this.oldest);
      this.sentAt.splice(0, this.oldest);
      this.oldest = 0;
    }
    return command;
  }

  private onPassed(): void {
    const sentAt = this.sentAt[this.oldest];
    if (sentAt === undefined) {
      return;
    }
    const left = sentAt + this.timeout - performance.now();
    if (left > 0) {
      this.deadline.start(left);
    } else {
      this.lose(`it did not answer within ${this.timeout} ms`);
    }
  }
}
