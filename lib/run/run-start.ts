import type { BrokerPosition } from '../broker/broker.js';
import type { HubResetReason } from '../event/hub-event.js';
import { LogEvent } from '../hub/log-event.js';
import type { JoinOptions } from './run.options.js';
import type { RunLog } from './run-log.js';
import type { ReadStart } from './run-reader.js';
import { isChunk } from './run-record.js';

/** The offset of the first record, which is no chunk. */
export const BEGIN = 1;

/**
 * Learns what is in the log if it does not contain a viewer's last chunk as far as this process knows: the viewer may have received it from another process,
 * before the broker has delivered it here.
 */
export async function learn(log: RunLog, { after }: JoinOptions): Promise<void> {
  const position = after ? log.positionOf(after) : undefined;
  if (typeof position === 'object' && !isKnown(log, position)) {
    await log.sync();
  }
}

/**
 * Returns where a viewer begins, in the run that is in the log when this is called. Returns `undefined` if the run is over without an error, and there is
 * nothing that the viewer would receive: a response without a body would let an `EventSource` reconnect for ever.
 */
export async function startOf(log: RunLog, { after, from }: JoinOptions): Promise<ReadStart | undefined> {
  const position = after ? log.positionOf(after) : undefined;
  if (position === undefined) {
    const isNow = from === 'now';
    const isEmpty = isNow || log.state.over?.items === 0;
    return isEmpty && log.state.over?.status === 'completed' ? undefined : placeIn(log, isNow ? log.end.offset : BEGIN);
  }
  if (typeof position === 'string' || !isKnown(log, position)) {
    return startOver(log, typeof position === 'string' ? position : 'epoch');
  }
  const { over } = log.state;
  const isClean = over?.status === 'completed' || over?.status === 'stopped';
  // Before the log is read: in the meantime, another run may begin in it.
  const place = placeIn(log, position.offset);
  return isClean && !(await hasChunkAfter(log, position.offset)) ? undefined : place;
}

/** Returns the place after a record. */
export function placeIn(log: RunLog, after: number): ReadStart {
  return { epoch: log.end.epoch, after, id: log.idAt(after), trace: log.state.begin?.trace };
}

function isKnown({ end }: RunLog, { epoch, offset }: BrokerPosition): boolean {
  return epoch === end.epoch && offset <= end.offset;
}

/** The client does not know this run: it receives a notice, and all chunks. */
function startOver(log: RunLog, reason: HubResetReason): ReadStart {
  const { offset } = log.end;
  const oldest = offset > BEGIN ? log.idAt(BEGIN + 1) : null;
  return { ...placeIn(log, BEGIN), notice: LogEvent.reset(BEGIN, log.idAt(BEGIN), { reason, oldest }) };
}

async function hasChunkAfter(log: RunLog, after: number): Promise<boolean> {
  for (let reached = after; ; ) {
    const records = await log.read(reached);
    const last = records.at(-1);
    if (!last) {
      return false;
    }
    if (records.some(isChunk)) {
      return true;
    }
    reached = last.offset;
  }
}
