import { audit } from './delivery.audit.js';
import type { Published, Received } from './sequence.js';

const id = (offset: number, epoch = 'a'): string => `tagg.${epoch}.${offset.toString(36)}`;
const event = (data: string, offset: number, epoch?: string): Received => ({ id: id(offset, epoch), data });
const position = (offset: number, epoch?: string): Received => ({
  id: id(offset, epoch),
  type: 'position',
  data: {},
});
const reset = (offset: number, epoch: string, topics?: readonly string[]): Received => ({
  id: id(offset, epoch),
  type: 'reset',
  data: { reason: 'epoch', oldest: null, topics },
});
const acknowledged = (key: string, topic: string, offset: number, epoch?: string): Published => ({
  key,
  topic,
  outcome: 'acknowledged',
  id: id(offset, epoch),
});

const PUBLISHED = [
  acknowledged('r1', 'red', 1),
  acknowledged('b2', 'blue', 2),
  acknowledged('r3', 'red', 3),
  acknowledged('b4', 'blue', 4),
];
const NEW_EPOCH = [...PUBLISHED, acknowledged('r1b', 'red', 1, 'b'), acknowledged('r2b', 'red', 2, 'b')];

function faults(topics: readonly string[], received: readonly Received[], published = PUBLISHED): string[] {
  return audit(published, [{ name: 'client', topics, received }]).faults;
}

describe('The audit of what clients of topics received', () => {
  it('finds no fault in sequences with gaps that are events of other topics', () => {
    expect(faults(['red'], [position(0), event('r1', 1), event('r3', 3), position(4)])).toEqual([]);
    expect(faults(['blue'], [position(1), position(1), event('b2', 2), event('b4', 4)])).toEqual([]);
    expect(faults(['blue', 'red'], [event('b2', 2), event('r3', 3), event('b4', 4)])).toEqual([]);
  });

  it('finds that an event of one of the topics is missing', () => {
    expect(faults(['red', 'blue'], [position(0), event('r1', 1), event('r3', 3), event('b4', 4)])).toEqual([
      'client: did not receive b2 (offset 2), and no reset said so',
    ]);
    expect(faults(['red'], [position(0), event('r1', 1)])).toHaveLength(1);
  });

  it('finds that an event is missing which only another client has received', () => {
    const published = PUBLISHED.map(({ key, topic }): Published => ({ key, topic, outcome: 'unknown' }));
    const { faults } = audit(published, [
      { name: 'one', topics: ['red'], received: [position(0), event('r1', 1), event('r3', 3)] },
      { name: 'two', topics: ['red'], received: [position(0), event('r3', 3)] },
    ]);
    expect(faults).toEqual(['two: did not receive r1 (offset 1), and no reset said so']);
  });

  it('finds that an event of an earlier epoch is missing before the last position that the client had in it', () => {
    const rest = [reset(0, 'b'), event('r1b', 1, 'b'), event('r2b', 2, 'b')];
    expect(faults(['red'], [position(0), event('r1', 1), position(2), ...rest], NEW_EPOCH)).toEqual([]);
    expect(faults(['red'], [position(0), event('r1', 1), position(4), ...rest], NEW_EPOCH)).toEqual([
      'client: did not receive r3 (offset 3), and no reset said so',
    ]);
  });

  it('finds a new epoch without a reset, and the first event of a new epoch that is missing after a reset', () => {
    const received = [position(0), event('r1', 1)];
    expect(faults(['red'], [...received, event('r1b', 1, 'b'), event('r2b', 2, 'b')], NEW_EPOCH)).toEqual([
      'client: tagg.b.1 follows a:1 without a reset',
    ]);
    expect(faults(['red'], [...received, reset(1, 'b'), event('r2b', 2, 'b')], NEW_EPOCH)).toEqual([
      'client: did not receive r1b (offset 1), and no reset said so',
    ]);
  });

  it('finds duplicates, events out of order, events of other topics, and an epoch that comes back', () => {
    const received = [position(0), event('r1', 1), event('r3', 3)];
    expect(faults(['red'], [...received, event('r3', 3)])).toContain('client: received tagg.a.3 (r3) twice');
    expect(faults(['red'], [position(0), event('r3', 3), event('r1', 1)])).toEqual(['client: tagg.a.1 follows a:3']);
    expect(faults(['red'], [...received, position(2)])).toEqual(['client: tagg.a.2 follows a:3']);
    expect(faults(['red'], [...received, event('b4', 4)])).toEqual([
      'client: received tagg.a.4 (b4), which is not of its topics',
    ]);
    expect(faults(['red'], [...received, reset(0, 'a', ['red'])])).toEqual([
      'client: received a reset at tagg.a.0, in an epoch that it has been in',
    ]);
  });

  it('counts resets for each topic that they name, or for all', () => {
    const received = [position(0), reset(0, 'b'), reset(0, 'c', ['blue'])];
    expect(audit([], [{ name: 'client', topics: ['red', 'blue'], received }]).resets).toEqual([1, 2]);
  });
});
