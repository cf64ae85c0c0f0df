import type { StreamCloseReason } from '../util/close-reason.js';
import { StreamStateError } from '../util/errors.js';
import { Lifecycle, type StreamChange, type StreamOperation, type StreamState } from './lifecycle.js';

const DONE: StreamCloseReason = { code: 'completed' };
const GONE: StreamCloseReason = { code: 'client-closed' };

/** How a stream comes into each phase, and what is to be seen of it there. */
const PHASES = {
  'that has just arrived': { by: [], state: 'new' },
  'whose handler is called': { by: ['call'], state: 'new' },
  'that is open, and has sent nothing': { by: ['call', 'open'], state: 'open' },
  'that is open': { by: ['call', 'open', 'fixHead'], state: 'open' },
  'that is closing before its head': { by: ['call', 'open', 'close'], state: 'closing' },
  'that is closing': { by: ['call', 'open', 'fixHead', 'close'], state: 'closing' },
  'that is turned away': { by: ['close', 'fixHead'], state: 'closing' },
  'whose last bytes wait': { by: ['call', 'open', 'fixHead', 'close', 'finish'], state: 'closing' },
  'whose last bytes were sent': { by: ['call', 'open', 'fixHead', 'close', 'finish', 'finished'], state: 'closing' },
  'that fails': { by: ['call', 'open', 'fixHead', 'fail'], state: 'errored' },
  'that fails, and whose last bytes wait': { by: ['call', 'open', 'fixHead', 'fail', 'finish'], state: 'errored' },
  'that failed': { by: ['call', 'open', 'fixHead', 'fail', 'finish', 'finished'], state: 'errored' },
  'that ended cleanly': { by: ['call', 'open', 'fixHead', 'close', 'finish', 'finished', 'settle'], state: 'closed' },
  'whose client disconnected before its head': { by: ['settle'], state: 'closed' },
  'that failed before its head': { by: ['call', 'fail', 'settle'], state: 'errored' },
} as const satisfies Record<string, { readonly by: readonly StreamChange[]; readonly state: StreamState }>;

type PhaseName = keyof typeof PHASES;
const NAMES = Object.keys(PHASES) as PhaseName[];

function change(lifecycle: Lifecycle, by: StreamChange): unknown {
  switch (by) {
    case 'fixHead':
      return lifecycle.fixHead(false);
    case 'close':
      return lifecycle.close(DONE);
    case 'fail':
      return lifecycle.fail('why');
    case 'finish':
      return lifecycle.finish('end');
    case 'settle':
      return lifecycle.settle(GONE);
    default:
      return lifecycle[by]();
  }
}

function lifecycleIn(name: PhaseName): Lifecycle {
  const lifecycle = new Lifecycle();
  for (const by of PHASES[name].by) {
    change(lifecycle, by);
  }
  return lifecycle;
}

/** Checks a column of the table: the phases in which something holds. */
function expectPhases(where: (lifecycle: Lifecycle) => unknown, expected: readonly PhaseName[]): void {
  expect(NAMES.filter((name) => where(lifecycleIn(name)))).toEqual(expected);
}

const NEW: readonly PhaseName[] = ['that has just arrived', 'whose handler is called'];
const OPEN: readonly PhaseName[] = ['that is open, and has sent nothing', 'that is open'];
const CLOSING: readonly PhaseName[] = ['that is closing before its head', 'that is closing', 'that is turned away'];
const ENDING: readonly PhaseName[] = ['whose last bytes wait', 'whose last bytes were sent'];
const FAILING: readonly PhaseName[] = ['that fails', 'that fails, and whose last bytes wait', 'that failed'];
const OVER: readonly PhaseName[] = [
  'that ended cleanly',
  'whose client disconnected before its head',
  'that failed before its head',
];

describe('A stream', () => {
  it.each(NAMES)('%s has the state that users see', (name) => {
    expect(lifecycleIn(name).state).toBe(PHASES[name].state);
  });

  it.each<[StreamOperation, readonly PhaseName[]]>([
    ['status', NEW],
    ['header', NEW],
    ['open', NEW],
    ['hooks', [...NEW, ...OPEN]],
    ['send', [...NEW, ...OPEN, ...CLOSING]],
    ['flush', [...NEW, ...OPEN, ...CLOSING, 'whose last bytes wait', 'that fails, and whose last bytes wait']],
    ['close', [...NEW, ...OPEN]],
  ])('allows %s() in these phases only', (operation, allowed) => {
    expectPhases((lifecycle) => lifecycle.allows(operation), allowed);
  });

  it.each<[StreamChange, readonly PhaseName[]]>([
    ['call', NEW],
    ['open', NEW],
    ['fixHead', [...NEW, ...OPEN, ...CLOSING]],
    ['close', [...NEW, ...OPEN]],
    ['fail', [...NEW, ...OPEN, ...CLOSING, ...ENDING]],
    ['finish', [...CLOSING, 'whose last bytes wait', 'that fails', 'that fails, and whose last bytes wait']],
    ['finished', ['whose last bytes wait', 'that fails, and whose last bytes wait']],
    ['settle', [...NEW, ...OPEN, ...CLOSING, ...ENDING, ...FAILING]],
  ])('can %s in these phases only', (by, possible) => {
    expectPhases((lifecycle) => {
      try {
        change(lifecycle, by);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(StreamStateError);
        return false;
      }
    }, possible);
  });

  it('accepts no chunks after it has failed or is over', () => {
    expectPhases(({ ended }) => ended, [...FAILING, ...OVER]);
  });

  it('lets exception filters respond until its head is fixed', () => {
    expectPhases(
      ({ headFixed }) => !headFixed,
      [
        ...NEW,
        'that is open, and has sent nothing',
        'that is closing before its head',
        'whose client disconnected before its head',
        'that failed before its head',
      ],
    );
  });

  it('has a reason as soon as it begins to end', () => {
    expectPhases(({ reason }) => reason === undefined, [...NEW, ...OPEN]);
  });

  it('stops its producer, unless its source has ended by itself', () => {
    expectPhases(({ halted }) => halted, [...FAILING, ...OVER]);
    const lifecycle = lifecycleIn('that is open');
    lifecycle.close({ code: 'shutdown' });
    expect(lifecycle.halted).toBe(true);
  });

  it('keeps the reason of its failure, whatever happens afterwards', () => {
    const lifecycle = lifecycleIn('that fails');

    lifecycle.finish('truncate');
    expect(lifecycle.ending).toBe('truncate');
    lifecycle.settle(GONE);

    expect(lifecycle.reason).toEqual({ code: 'error', error: 'why' });
  });

  it('that begins to end for one reason, and is over for another, has the second reason', () => {
    const lifecycle = lifecycleIn('that is closing');

    lifecycle.settle(GONE);

    expect(lifecycle.reason).toBe(GONE);
  });

  it('refuses a chunk while its last bytes wait for the client, with a message that says so', () => {
    expect(lifecycleIn('whose last bytes wait').refusal('send', 'why')).toMatchObject({
      code: 'invalid-state',
      message:
        'send() is possible while a stream is new or open or closing, and this one is closing, with its body at its end',
      cause: 'why',
    });
    expect(lifecycleIn('that ended cleanly').refusal('hooks').message).toBe(
      'hooks() is possible while a stream is new or open, and this one is closed',
    );
  });

  it('whose head the platform writes later cannot change that head in the meantime', () => {
    const lifecycle = lifecycleIn('that is open, and has sent nothing');

    lifecycle.fixHead(true);
    expect([lifecycle.headFixed, lifecycle.headPending]).toEqual([true, true]);
    lifecycle.headWritten();

    expect([lifecycle.headFixed, lifecycle.headPending, lifecycle.state]).toEqual([true, false, 'open']);
  });
});
