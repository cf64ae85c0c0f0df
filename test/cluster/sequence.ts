/** An event as a client received it. `reset` and `position` are events of the hub itself. */
export interface Received {
  readonly id: string;
  readonly type?: string;
  readonly data: unknown;
}

/** What publish() answered. `rejected`: the event was not taken; `unknown`: nobody can tell whether it was. */
export type Outcome = 'acknowledged' | 'rejected' | 'unknown';

/** An event that was published. Its data is `key`, and no other event has the same. */
export interface Published {
  readonly key: string;
  readonly topic?: string;
  readonly outcome: Outcome;
  /** The id that publish() returned. */
  readonly id?: string;
}

export interface ClientSequence {
  readonly name: string;
  /** The topics that it wants. `undefined`: all events. */
  readonly topics?: readonly string[];
  readonly received: readonly Received[];
}

export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** An id is `<hub>.<epoch>.<offset>`, with the offset in base 36. */
export function positionOf(id: string): Position {
  const [, epoch = '', offset = ''] = id.split('.');
  return { epoch, offset: Number.parseInt(offset, 36) };
}
