import type { Socket } from 'node:net';
import fc from 'fast-check';
import { useRoundWriter } from '../transport/round-writer.js';
import { SharedChunk } from '../transport/shared-chunk.js';
import { DirectRow, type RowMember, type RowTotals } from './direct-row.js';

/** A member that remembers what it was sent while it was in the row, and what the row says about that. */
class Member implements RowMember {
  seat = -1;
  full = 0;
  readonly written: string[] = [];
  /** The totals at the time when it entered the row. */
  base: RowTotals | undefined;

  onFull(): void {
    this.full++;
  }
}

type Step =
  | { readonly kind: 'enter' | 'leave'; readonly at: number }
  | { readonly kind: 'round' | 'write'; readonly size: number };

const STEPS = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('enter' as const, 'leave' as const), at: fc.nat(20) }),
    fc.record({ kind: fc.constantFrom('round' as const, 'write' as const), size: fc.integer({ min: 1, max: 5 }) }),
  ),
  { maxLength: 80 },
);

/** A row, and a model of it: every member has its own list of what it was sent. */
class Model {
  private readonly members = new Map<Member, Socket>();
  private now = 0;
  readonly row = new DirectRow<Member>({ now: () => this.now });
  private chunk: SharedChunk | undefined;
  private rounds = 0;
  private owed = new Set<Member>();

  run(steps: readonly Step[]): void {
    useRoundWriter((sockets, bytes) => {
      for (const socket of sockets) {
        (socket as unknown as Member).written.push(bytes.toString());
      }
      return undefined;
    });
    for (const step of steps) {
      this.take(step);
      this.check();
    }
  }

  private take(step: Step): void {
    const { row } = this;
    if (step.kind === 'enter') {
      const member = new Member();
      this.members.set(member, member as unknown as Socket);
      member.base = row.enter(member, member as unknown as Socket);
    } else if (step.kind === 'leave') {
      const member = row.members[step.at % Math.max(1, row.members.length)];
      if (member) {
        this.leave(member);
      }
    } else if (step.kind === 'write') {
      this.write(step.size);
    } else if (step.kind === 'round') {
      this.write(Infinity);
      this.now++;
      this.chunk = new SharedChunk(String(++this.rounds), step.size);
      this.owed = new Set(row.members);
      row.begin(this.rounds, this.chunk);
    }
  }

  private write(most: number): void {
    const before = new Map([...this.owed].map((member) => [member, member.written.length]));
    const count = this.chunk && this.row.pending > 0 ? this.row.write(this.chunk, most) : 0;
    const served = [...this.owed].filter((member) => member.written.length > (before.get(member) ?? 0));
    expect(served).toHaveLength(count);
    expect(count).toBe(Math.min(most, before.size));
    for (const member of served) {
      expect(member.written.at(-1)).toBe(this.chunk?.chunked.toString());
      this.owed.delete(member);
    }
  }

  private leave(member: Member): void {
    const { seat } = member;
    expect(this.row.sent(seat)).toBe(this.row.leave(member));
    expect(member.seat).toBe(-1);
    this.members.delete(member);
    this.owed.delete(member);
  }

  private check(): void {
    const { row, members, owed } = this;
    expect(new Set(row.members)).toEqual(new Set(members.keys()));
    expect(row.members.map(({ seat }) => seat)).toEqual(row.members.map((_, seat) => seat));
    expect(row.pending).toBe(owed.size);
    for (const member of row.members) {
      const { seq, bytes } = row.sent(member.seat);
      const { seq: from = 0, bytes: before = 0 } = member.base ?? {};
      expect(seq).toBe(owed.has(member) ? this.rounds - 1 : this.rounds);
      expect(member.written).toHaveLength(seq - from);
      const sizes = member.written.map((text) => Buffer.from(text.split('\r\n')[1] ?? '').length);
      expect(bytes - before).toBe(sizes.reduce((sum, size) => sum + size, 0));
    }
  }
}

describe('A row of direct members', () => {
  afterEach(() => useRoundWriter(undefined));

  it('writes each round once to each member that is in it, and knows what each was sent, whoever enters and leaves in between', () => {
    fc.assert(fc.property(STEPS, (steps) => new Model().run(steps)));
  });

  it('counts the chunks of a round, and when it began', () => {
    let now = 5;
    const row = new DirectRow<Member>({ now: () => now });
    const [early, late] = [new Member(), new Member()];
    row.enter(early, {} as Socket);
    row.enter(late, {} as Socket);
    useRoundWriter(() => undefined);
    const chunk = new SharedChunk('abc', 2);
    row.begin(7, chunk);
    row.write(chunk, 1);

    expect(row.sent(early.seat)).toEqual({ seq: 7, chunks: 2, bytes: 3, at: 5 });
    expect(row.sent(late.seat)).toEqual({ seq: 0, chunks: 0, bytes: 0, at: 0 });

    row.write(chunk, 1);
    now = 9;
    row.begin(8, undefined);
    row.skip();
    expect(row.sent(late.seat)).toEqual({ seq: 8, chunks: 2, bytes: 3, at: 5 });
  });

  it('tells a member that its socket is full, also if another member has left during the write', () => {
    const row = new DirectRow<Member>({ now: () => 0 });
    const members = Array.from({ length: 4 }, () => new Member());
    for (const member of members) {
      row.enter(member, {} as Socket);
    }
    const chunk = new SharedChunk('x');
    row.begin(1, chunk);
    useRoundWriter(() => {
      row.leave(members[0] as Member);
      return [2, 3];
    });

    row.write(chunk, 10);

    expect(members.map(({ full }) => full)).toEqual([0, 0, 1, 1]);
    expect(row.members.map((member) => row.sent(member.seat).seq)).toEqual([1, 1, 1]);
  });
});
