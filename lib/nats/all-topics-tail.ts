import type { BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail } from '../broker/broker-topics.js';

export interface AllTopicsTailOptions {
  /** Starts to receive the whole log. */
  readonly tail: (
    listener: (records: readonly BrokerRecord[], position?: BrokerPosition) => void,
  ) => Promise<BrokerTail>;
  /** Resolves to the end of the log, once its tails have received everything up to it. */
  readonly reachEnd: () => Promise<BrokerPosition>;
}

/** A tail of topics of a log that is also kept as a whole, in which there can be no marks: its offsets have no gaps. So the process receives all topics. */
export async function tailAllTopics(
  listener: BrokerTopicListener,
  { tail, reachEnd }: AllTopicsTailOptions,
): Promise<BrokerTopicTail> {
  const topics = new Set<string>();
  const { epoch, offset, stop } = await tail((records, position) => {
    const last = records[records.length - 1];
    // Records that were read do not say which one was before them in their topic.
    if (position || (last && last.previous === undefined)) {
      listener.onMissed(positionIn(position ?? last));
      return;
    }
    const wanted = records.filter(({ topic }) => topic !== undefined && topics.has(topic));
    if (wanted.length > 0) {
      listener.onRecords(wanted);
    }
    if (last) {
      listener.onReached(positionIn(last));
    }
  });
  return {
    epoch,
    offset,
    add: async (added) => {
      for (const topic of added) {
        topics.add(topic);
      }
      return reachEnd();
    },
    delete: (deleted) => {
      for (const topic of deleted) {
        topics.delete(topic);
      }
    },
    stop,
  };
}

function positionIn(position: BrokerPosition | undefined): BrokerPosition {
  return { epoch: position?.epoch ?? '', offset: position?.offset ?? 0 };
}
