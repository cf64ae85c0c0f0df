import { randomBytes } from 'node:crypto';
import type { LeavingEntry, MemberEntry, MemberKey, MemberMessage, MemberSheet } from './member-log.js';

/** About how many bytes of members a message has. */
const MESSAGE_BYTES = 32_768;
/** The shortest time between two messages, in milliseconds, so that changes are sent together. */
const BATCH_MS = 50;
/** The time before a message is sent again that the broker could not append, in milliseconds. */
const RETRY_MS = 1_000;

/** What an outbox needs of its process. */
export interface OutboxPort {
  send(message: MemberMessage): Promise<void>;
  /** Returns the info of a member of this process, or `undefined` if it is not there. */
  infoOf(key: MemberKey): string | undefined;
  /** The members of this process that the others know. */
  own(): IterableIterator<MemberEntry>;
  /** The members about whose leaving this process tells the others. */
  leaving(): IterableIterator<LeavingEntry>;
}

interface Budget {
  bytes: number;
}

interface Echo {
  /** The number of the message, once it is sent. */
  n: number | undefined;
  readonly done: () => void;
}

/** All that a process knows, in parts. It is read while it changes: a change of what was read is sent after it. */
class Sheet {
  /** Whether a process has started since the first part, which needs another sheet. */
  again = false;
  private started = false;
  private ended = false;
  private readonly own: IterableIterator<MemberEntry>;
  private leaving: IterableIterator<LeavingEntry> | undefined;

  constructor(private readonly port: Pick<OutboxPort, 'own' | 'leaving'>) {
    this.own = port.own();
  }

  askedAgain(): void {
    this.again = this.started;
  }

  next(): MemberSheet {
    const budget: Budget = { bytes: MESSAGE_BYTES };
    const start = !this.started;
    this.started = true;
    const part: MemberSheet = start ? { start } : {};
    if (this.ended) {
      return { ...part, ...this.nextLeaving(budget) };
    }
    const members = read(this.own, budget);
    if (budget.bytes <= 0) {
      return { ...part, members };
    }
    this.ended = true;
    return { ...part, members, end: true, ...this.nextLeaving(budget) };
  }

  private nextLeaving(budget: Budget): Pick<MemberSheet, 'leaving' | 'last'> {
    this.leaving ??= this.port.leaving();
    const leaving = read(this.leaving, budget);
    return budget.bytes > 0 ? { leaving, last: true } : { leaving };
  }
}

/** Sends what other processes have to know: one message at a time, with all changes since the last one. */
export class MemberOutbox {
  /** Identifies this process. It has another id after the others have removed it. */
  id = newId();
  /** Changes are not sent before this process knows the members of the others: whether a member has joined depends on them. */
  private held = true;
  private n = 0;
  private command: 'hello' | 'beat' | undefined;
  private sheet: Sheet | undefined;
  private running = false;
  private stopped = false;
  private readonly changed = new Set<string>();
  private readonly over = new Set<string>();
  private readonly gone = new Set<string>();
  private readonly echoes = new Set<Echo>();

  constructor(private readonly port: OutboxPort) {}

  /** A member of this process has come, has other info, or has gone. */
  onChange(key: MemberKey): void {
    this.changed.add(key.join('\n'));
    this.run();
  }

  /** Members that no process has any more leave. */
  end(members: readonly MemberKey[]): void {
    for (const key of members) {
      this.over.add(key.join('\n'));
    }
    this.run();
  }

  /** Removes processes that have crashed. */
  remove(processes: readonly string[]): void {
    for (const process of processes) {
      this.gone.add(process);
    }
    this.run();
  }

  sendHello(): void {
    this.command = 'hello';
    this.run();
  }

  sendBeat(): void {
    this.command ??= 'beat';
    this.run();
  }

  /** Sends all members of this process that the others know, and those that are about to leave. */
  sendSheet(): void {
    if (this.sheet) {
      this.sheet.askedAgain();
    } else {
      this.sheet = new Sheet(this.port);
    }
    this.run();
  }

  /** From now on, changes wait. */
  hold(): void {
    this.held = true;
  }

  /** From now on, changes are sent. */
  release(): void {
    this.held = false;
    this.run();
  }

  /** Resolves when this process has received what was sent before, and all changes until now are sent. Also resolves if they cannot be sent. */
  echo(): Promise<void> {
    return new Promise((done) => {
      this.echoes.add({ n: undefined, done });
      this.run();
    });
  }

  /** Called when this process has received a message of its own. */
  onEcho(n: number): void {
    this.settle((echo) => echo.n !== undefined && echo.n <= n);
  }

  /** The others have removed this process: it comes back as another one. */
  rename(): void {
    this.id = newId();
    this.sheet = undefined;
    this.settle(() => true);
  }

  /** Sends nothing any more but the last message. */
  async close(): Promise<void> {
    this.stopped = true;
    this.settle(() => true);
    await this.port.send({ from: this.id, n: ++this.n, do: 'bye' });
  }

  private run(): void {
    if (!this.running && !this.stopped) {
      this.running = true;
      setImmediate(() => void this.sendAll());
    }
  }

  private async sendAll(): Promise<void> {
    while (!this.stopped) {
      const message = this.next();
      if (!message) {
        break;
      }
      const sent = await this.port.send(message).then(
        () => true,
        () => this.restore(message),
      );
      await new Promise((resolve) => setTimeout(resolve, sent ? BATCH_MS : RETRY_MS));
    }
    this.running = false;
  }

  /** Returns the next message, or `undefined` if there is nothing to send. */
  private next(): MemberMessage | undefined {
    const budget: Budget = { bytes: MESSAGE_BYTES };
    const parts: Partial<MemberMessage> = {
      ...(this.command && { do: this.command }),
      ...(this.gone.size > 0 && { gone: [...this.gone] }),
      ...(this.sheet && { sheet: this.sheet.next() }),
      ...(this.over.size > 0 && { left: [...take(this.over, budget)] }),
      ...(this.changed.size > 0 && !this.held && this.changes(budget)),
    };
    if (Object.keys(parts).length === 0 && !this.hasNewEcho) {
      return undefined;
    }
    this.command = undefined;
    this.gone.clear();
    if (parts.sheet?.last) {
      this.sheet = this.sheet?.again ? new Sheet(this.port) : undefined;
    }
    const n = ++this.n;
    if (this.changed.size === 0 || this.held) {
      for (const echo of this.echoes) {
        echo.n ??= n;
      }
    }
    return { from: this.id, n, ...parts };
  }

  private get hasNewEcho(): boolean {
    for (const { n } of this.echoes) {
      if (n === undefined) {
        return true;
      }
    }
    return false;
  }

  private changes(budget: Budget): Pick<MemberMessage, 'add' | 'del'> {
    const add: MemberEntry[] = [];
    const del: MemberKey[] = [];
    for (const key of take(this.changed, budget)) {
      const info = this.port.infoOf(key);
      budget.bytes -= info?.length ?? 0;
      if (info === undefined) {
        del.push(key);
      } else {
        add.push([...key, info]);
      }
    }
    return { add, del };
  }

  /** Sends the changes of a message again. The rest of the message is sent again anyway, or is of no use. */
  private restore({ do: command, add = [], del = [] }: MemberMessage): false {
    for (const [hub, topic, id] of [...add, ...del]) {
      this.changed.add(`${hub}\n${topic}\n${id}`);
    }
    if (command === 'hello') {
      this.command = command;
    }
    this.settle(({ n }) => n !== undefined);
    return false;
  }

  private settle(isOver: (echo: Echo) => boolean): void {
    for (const echo of this.echoes) {
      if (isOver(echo)) {
        this.echoes.delete(echo);
        echo.done();
      }
    }
  }
}

function newId(): string {
  return randomBytes(8).toString('hex');
}

/** Takes keys from a set while the budget lasts. */
function* take(keys: Set<string>, budget: Budget): IterableIterator<MemberKey> {
  for (const key of keys) {
    if (budget.bytes <= 0) {
      return;
    }
    keys.delete(key);
    budget.bytes -= key.length;
    const [hub = '', topic = '', id = ''] = key.split('\n');
    yield [hub, topic, id];
  }
}

/** Reads entries while the budget lasts. */
function read<E extends readonly unknown[]>(entries: IterableIterator<E>, budget: Budget): E[] {
  const taken: E[] = [];
  while (budget.bytes > 0) {
    const { done, value } = entries.next();
    if (done) {
      break;
    }
    taken.push(value);
    budget.bytes -= value.join().length;
  }
  return taken;
}
