import type { BrokerEntry, BrokerRecord } from '../broker/broker.js';
import type { StreamErrorBody } from '../format/format.js';
import type { RunStatus, RunStopReason } from './run.options.js';

// The log of a run contains its chunks, which have no topic, and records that the processes write for each other, each with a topic.

/** The first record of a run. */
export interface RunBegin {
  readonly id: string;
  /** A random text, by which a process recognizes a record that it has written itself. */
  readonly nonce: string;
  /** The process that produces the run. */
  readonly node: string;
  readonly owner?: string;
  /** The trace context of the run. */
  readonly trace?: string;
  readonly at: number;
}

/** The last record of a run. Readers end at it. */
export interface RunEnd {
  readonly status: Exclude<RunStatus, 'running'>;
  readonly reason?: RunStopReason;
  /** What clients are sent about the error of a run that has failed. */
  readonly error?: StreamErrorBody;
  readonly items: number;
  readonly bytes: number;
  readonly at: number;
}

/** Says how many viewers a process has. */
interface RunVisit {
  readonly node: string;
  readonly count: number;
  /** The nonce of the run: another one may begin in its log in the meantime. */
  readonly nonce?: string;
}

/** Asks the process of the run to stop it. As the first record of a log: the run was stopped before it was started. */
export interface RunStop {
  readonly reason: RunStopReason;
  /** Whose run is to be stopped, if it is not started yet. Default: anybody's. */
  readonly owner?: string;
  /** The nonce of the run that is to be stopped, if it is started: another one may begin in its log in the meantime. */
  readonly nonce?: string;
}

export type RunControl =
  | { readonly kind: 'begin'; readonly data: RunBegin }
  | { readonly kind: 'end'; readonly data: RunEnd }
  | { readonly kind: 'viewers'; readonly data: RunVisit }
  | { readonly kind: 'stop'; readonly data: RunStop };

const TOPIC = /^~(begin|end|viewers|stop)$/;

/** The only record of a log whose run was deleted. It says nothing, so that there is no run. */
export const GONE: BrokerEntry = { topic: '~gone', encoding: 'text', data: '' };

/** Returns a record for other processes as a broker stores it. */
export function controlEntry({ kind, data }: RunControl): BrokerEntry {
  return { topic: `~${kind}`, encoding: 'json', data: JSON.stringify(data) };
}

/** Returns whether a record of another process is about a run. */
export function isAbout({ nonce }: RunStop | RunVisit, begin: RunBegin | undefined): boolean {
  return nonce === undefined || nonce === begin?.nonce;
}

/** Returns whether a record is a chunk of the run. */
export function isChunk({ topic }: BrokerRecord): boolean {
  return topic === undefined;
}

/** Returns what a record says to other processes. Returns `undefined` for a chunk, and for a record of another version of the package. */
export function controlIn({ topic, data }: BrokerRecord): RunControl | undefined {
  // Most records are chunks.
  const kind = topic === undefined ? undefined : TOPIC.exec(topic)?.[1];
  return kind === undefined ? undefined : ({ kind, data: JSON.parse(data) } as RunControl);
}

/** How much a run has produced, and in how many appends. */
export interface RunFigures {
  readonly append: number;
  readonly items: number;
  readonly bytes: number;
}

/** Returns the key of the last record of an append. It identifies the append, and contains the figures up to it. */
export function figuresKey({ append, items, bytes }: RunFigures): string {
  return `${append.toString(36)}.${items.toString(36)}.${bytes.toString(36)}`;
}

/** Returns the figures in the key of a record, if it has them. */
export function figuresIn({ key }: { readonly key?: string }): RunFigures | undefined {
  const [append, items, bytes] = (key ?? '').split('.').map((each) => Number.parseInt(each, 36));
  return append === undefined || items === undefined || bytes === undefined ? undefined : { append, items, bytes };
}
