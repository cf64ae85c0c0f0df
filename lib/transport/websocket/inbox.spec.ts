import { StreamStateError } from '../../util/errors.js';
import { Inbox } from './inbox.js';

function setup(limits = { items: 2, bytes: 10 }) {
  const asked: string[] = [];
  const inbox = new Inbox(limits, {
    pause: () => void asked.push('pause'),
    resume: () => void asked.push('resume'),
    wait: () => void asked.push('wait'),
  });
  return { inbox, asked, push: (text: string) => inbox.push(Buffer.from(text), false) };
}

const message = (value: string) => ({ done: false, value });
const DONE = { done: true, value: undefined };

describe('An inbox', () => {
  it('returns messages in their order, also to readers that wait', async () => {
    const { inbox, push, asked } = setup();
    const early = [inbox.next(), inbox.next()];

    for (const each of ['a', 'b', 'c']) {
      push(each);
    }

    expect(await Promise.all([...early, inbox.next()])).toEqual([message('a'), message('b'), message('c')]);
    expect(asked).toEqual(['wait', 'wait']);
  });

  it.each([
    ['by their number', ['a', 'b']],
    ['by their bytes', ['ääääü']],
  ])('pauses its client when it is full, %s, until there is room', async (_how, messages) => {
    const { inbox, push, asked } = setup();

    for (const each of messages) {
      expect(push(each)).toBe(true);
    }
    expect(asked).toEqual(['pause']);
    // What came in the same read as what filled it is kept too.
    push('c');

    for (const each of [...messages, 'c']) {
      expect(await inbox.next()).toEqual(message(each));
    }
    expect(asked).toEqual(['pause', 'resume']);
  });

  it('ends when all waiting messages have been read', async () => {
    const { inbox, push } = setup();
    push('a');
    inbox.end();

    expect(push('b')).toBe(false);
    expect([await inbox.next(), await inbox.next()]).toEqual([message('a'), DONE]);
  });

  it('ends for readers that wait', async () => {
    const { inbox } = setup();
    const waiting = inbox.next();
    inbox.end();

    expect(await waiting).toEqual(DONE);
  });

  it('drops messages after its reader has left the loop, and no longer pauses its client', async () => {
    const { inbox, push, asked } = setup();
    push('a');
    push('b');
    for await (const each of inbox) {
      expect(each).toBe('a');
      break;
    }

    expect(push('c')).toBe(false);
    expect(await inbox.next()).toEqual(DONE);
    expect(asked).toEqual(['pause', 'resume']);
  });

  it('can be read only once', () => {
    const { inbox } = setup();
    inbox[Symbol.asyncIterator]();

    expect(() => inbox[Symbol.asyncIterator]()).toThrow(StreamStateError);
  });
});
