import { audit } from './delivery.audit.js';
import type { Published, Received } from './sequence.js';

const id = (offset: number, epoch = 'a'): string => `tagg.${epoch}.${offset.toString(36)}`;
const event = (offset: number, epoch?: string): Received => ({
  id: id(offset, epoch),
  data: `${epoch ?? 'a'}${offset}`,
});
const reset = (offset: number, epoch?: string): Received => ({
  id: id(offset, epoch),
  type: 'reset',
  data: { reason: 'epoch', oldest: null },
});
const acknowledged = (offset: number, epoch?: string): Published => ({
  key: `${epoch ?? 'a'}${offset}`,
  outcome: 'acknowledged',
  id: id(offset, epoch),
});

const PUBLISHED = [1, 2, 3].map((offset) => acknowledged(offset));

function faults(received: readonly Received[], published: readonly Published[] = PUBLISHED): string[] {
  return audit(published, [{ name: 'client', received }]).faults;
}

describe('The audit of what clients received', () => {
  it('finds no fault in a gapless sequence, also of a client that came later', () => {
    expect(faults([event(1), event(2), event(3)])).toEqual([]);
    expect(faults([event(2), event(3)])).toEqual([]);
  });

  it('finds no fault in a sequence in which a reset announces a new epoch', () => {
    const published = [...PUBLISHED, acknowledged(1, 'b'), acknowledged(2, 'b')];
    const received = [event(1), reset(0, 'b'), event(1, 'b'), event(2, 'b')];
    expect(audit(published, [{ name: 'client', received }])).toEqual({
      faults: [],
      acknowledged: 5,
      rejected: 0,
      unknown: 0,
      resets: [1],
    });
  });

  it('counts two resets for one loss', () => {
    const received = [event(1), reset(0, 'b'), reset(0, 'b'), event(1, 'b')];
    expect(audit([acknowledged(1), acknowledged(1, 'b')], [{ name: 'client', received }]).resets).toEqual([2]);
  });

  it('counts a reset within an epoch, and finds no fault in the events that it repeats', () => {
    const received = [event(1), event(2), reset(0), event(1), event(2), event(3)];
    const { faults, resets } = audit(PUBLISHED, [{ name: 'client', received }]);
    expect([faults, resets]).toEqual([[], [1]]);
  });

  it('finds events of the epoch before that are repeated after a reset', () => {
    const received = [event(1), reset(0, 'b'), event(1, 'b'), reset(0, 'a'), event(1)];
    expect(faults(received, [...PUBLISHED, acknowledged(1, 'b')])).toContain('client: received tagg.a.1 (a1) twice');
  });

  it('finds a silent gap', () => {
    expect(faults([event(1), event(3)])).toEqual([
      'client: tagg.a.3 follows a:1 without a reset',
      'client: did not receive a2 (offset 2), and no reset said so',
    ]);
  });

  it('finds a silent gap in a later epoch, also right after the reset', () => {
    const published = [acknowledged(1), acknowledged(1, 'b'), acknowledged(2, 'b')];
    expect(faults([event(1), event(1, 'b'), event(2, 'b')], published)).toEqual([
      'client: tagg.b.1 follows a:1 without a reset',
    ]);
    expect(faults([event(1), reset(0, 'b'), event(2, 'b')], published)).toHaveLength(2);
  });

  it('finds acknowledged events of the last epoch that a reset has skipped', () => {
    const published = [acknowledged(1), acknowledged(1, 'b'), acknowledged(2, 'b')];
    expect(faults([event(1), reset(1, 'b'), event(2, 'b')], published)).toEqual([
      'client: did not receive b1 (offset 1), and no reset said so',
    ]);
  });

  it('finds that the last events are missing', () => {
    expect(faults([event(1), event(2)])).toContain('client: did not receive a3 (offset 3), and no reset said so');
  });

  it('finds duplicates: of an id, and of data under another id', () => {
    expect(faults([event(1), event(2), event(2), event(3)])).toContain('client: received tagg.a.2 (a2) twice');
    expect(faults([event(1), { ...event(2), data: 'a1' }])).toContain('client: received tagg.a.2 (a1) twice');
  });

  it('finds a position that skips events', () => {
    const position = { id: id(2), type: 'position', data: {} };
    expect(faults([event(1), position, event(3)])).toContain('client: the position tagg.a.2 skips events after a:1');
  });

  it('finds events that were rejected as not taken, and allows those of which nobody knows', () => {
    const published = (outcome: 'rejected' | 'unknown'): Published[] => [{ key: 'a1', outcome }];
    expect(faults([event(1)], published('rejected'))).toEqual(['client: received a1, which was rejected as not taken']);
    expect(faults([event(1)], published('unknown'))).toEqual([]);
    expect(faults([event(1)], [])).toEqual(['client: received a1, which nobody published']);
  });

  it('finds two events in one position, of two clients or of a client and publish()', () => {
    const published: Published[] = [acknowledged(1), { key: 'other', outcome: 'unknown' }];
    const other = { ...event(1), data: 'other' };
    expect(
      audit(published, [
        { name: 'one', received: [event(1)] },
        { name: 'two', received: [other] },
      ]).faults,
    ).toContain('two: tagg.a.1 is other, but another client received a1 as tagg.a.1');
    expect(faults([event(2)], [{ key: 'a2', outcome: 'acknowledged', id: id(1) }])).toContain(
      'client: received a2 as tagg.a.2, but publish() returned tagg.a.1',
    );
  });

  it('finds an event of a type that nobody published', () => {
    expect(faults([{ ...event(1), type: 'lagged' }], [])).toEqual(['client: received an event of type lagged']);
  });
});
