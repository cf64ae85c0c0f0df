import type { MemberMessage } from './member-log.js';
import { MemberState } from './member-state.js';

/** The state of some processes that receive the same messages. The changes of each are those that it publishes. */
class Processes {
  graceMs = 0;
  private n = 0;
  private readonly states = new Map<string, { readonly state: MemberState; readonly published: string[] }>();

  constructor(ids: readonly string[]) {
    for (const id of ids) {
      this.start(id);
    }
  }

  start(id: string): void {
    const published: string[] = [];
    const state = new MemberState(
      {
        onChange: (change, { id: member, info }, by) => by === id && published.push(`${change} ${member}${info}`),
        onComplete: () => undefined,
        onLate: () => undefined,
      },
      () => this.graceMs,
    );
    this.states.set(id, { state, published });
  }

  send(from: string, message: Omit<MemberMessage, 'from' | 'n'>): void {
    for (const { state } of this.states.values()) {
      state.apply({ from, n: ++this.n, ...message });
    }
  }

  add(from: string, id: string, info = ''): void {
    this.send(from, { add: [['hub', 'red', id, info]] });
  }

  del(from: string, id: string): void {
    this.send(from, { del: [['hub', 'red', id]] });
  }

  /** The members as each process knows them. All of them must agree. */
  get members(): string[] {
    const [first, ...others] = [...this.states.values()].map(({ state }) => [...state.list('hub', 'red').keys()]);
    for (const other of others) {
      expect(other).toEqual(first);
    }
    return first ?? [];
  }

  stateOf(process: string): MemberState | undefined {
    return this.states.get(process)?.state;
  }

  published(process: string): string[] {
    return this.states.get(process)?.published ?? [];
  }

  /** Each process announces those who are due there. */
  look(processes = [...this.states.keys()]): void {
    for (const process of processes) {
      const left = this.states.get(process)?.state.due(process) ?? [];
      this.send(process, { left: left.map(({ place: { hub, topic }, id }) => [hub, topic, id]) });
    }
  }

  /** Counts a beat of each process. Returns the processes that one of them takes to have crashed. */
  beat(...processes: string[]): string[] {
    for (const process of processes) {
      this.send(process, { do: 'beat' });
    }
    return processes.flatMap((process) => this.states.get(process)?.state.beat(process) ?? []);
  }
}

describe('The members of processes', () => {
  it('are published by the process whose message is first in the log', () => {
    const processes = new Processes(['a', 'b']);
    processes.add('b', 'u1');
    processes.add('a', 'u1');
    processes.add('a', 'u1', '{}');

    expect([processes.published('a'), processes.published('b')]).toEqual([['joined u1{}'], ['joined u1']]);
    expect(processes.members).toEqual(['u1']);
  });

  it('that come back in time have not left', () => {
    const processes = new Processes(['a', 'b']);
    processes.add('a', 'u1');
    processes.del('a', 'u1');
    processes.add('b', 'u1');
    processes.look();

    expect([processes.published('a'), processes.published('b')]).toEqual([['joined u1'], []]);
    processes.del('b', 'u1');
    processes.look();
    processes.look();
    expect([processes.published('a'), processes.published('b')]).toEqual([['joined u1'], ['left u1']]);
    expect(processes.members).toEqual([]);
  });

  it('are there until their time is over', () => {
    const processes = new Processes(['a', 'b']);
    processes.graceMs = 60_000;
    processes.add('a', 'u1');
    processes.del('a', 'u1');
    processes.look();

    expect(processes.members).toEqual(['u1']);
    expect(processes.published('a')).toEqual(['joined u1']);
  });

  it('of a closed process are published by one of the others', () => {
    const processes = new Processes(['a', 'b', 'c']);
    processes.send('a', { do: 'hello' });
    processes.send('b', { do: 'hello' });
    processes.add('c', 'u1');
    processes.send('c', { do: 'bye' });
    processes.add('c', 'u2');
    processes.look(['b', 'a']);

    expect(processes.members).toEqual([]);
    expect([processes.published('a'), processes.published('b')]).toEqual([['left u1'], []]);
  });

  it('of a crashed process are published once, and late messages of it are ignored', () => {
    const processes = new Processes(['a', 'b', 'c']);
    processes.add('c', 'u1');
    processes.add('a', 'u2');
    processes.add('c', 'u2');
    let gone: string[] = [];
    for (let beats = 0; beats < 5; beats++) {
      expect(gone).toEqual([]);
      gone = processes.beat('a', 'b');
    }

    expect(gone).toEqual(['c', 'c']);
    processes.send('b', { gone: ['c'] });
    processes.send('a', { gone: ['c'] });
    processes.add('c', 'u3');
    expect(processes.members).toEqual(['u2']);
    expect([processes.published('a'), processes.published('b')]).toEqual([['joined u2'], ['left u1']]);
  });

  it('are completed by a sheet, which also removes members whose end was lost', () => {
    const processes = new Processes(['a']);
    processes.add('a', 'u1');
    processes.add('a', 'u2');
    processes.start('b');
    processes.send('b', { do: 'hello' });
    processes.send('a', { sheet: { start: true, members: [['hub', 'red', 'u1', '1']] } });
    processes.send('a', { sheet: { members: [['hub', 'red', 'u2', '2']], end: true, last: true } });
    expect(processes.members).toEqual(['u1', 'u2']);

    processes.send('a', { sheet: { start: true, members: [['hub', 'red', 'u2', '2']], end: true, last: true } });
    processes.look(['b', 'a']);
    expect(processes.members).toEqual(['u2']);
    expect([processes.published('a'), processes.published('b')]).toEqual([['joined u1', 'joined u2'], []]);
  });

  it('that are about to leave are known to a process that starts', () => {
    const processes = new Processes(['a']);
    processes.graceMs = 60_000;
    processes.add('a', 'u1');
    processes.add('a', 'u2');
    processes.del('a', 'u1');
    processes.start('b');
    processes.send('b', { do: 'hello' });
    const leaving = [...(processes.stateOf('a')?.leavingFor('a') ?? [])];
    processes.send('a', {
      sheet: { start: true, members: [['hub', 'red', 'u2', '']], end: true, leaving, last: true },
    });

    expect(leaving.map(([, , id, , by]) => [id, by])).toEqual([['u1', 'a']]);
    expect(processes.stateOf('b')?.list('hub', 'red').has('u1')).toBe(true);
    processes.add('b', 'u1');
    expect(processes.published('b')).toEqual([]);
  });
});
