import { BadRequestException, HttpException } from '@nestjs/common';
import type { StreamFormat } from '../format/format.js';
import { describeError } from '../route/error-body.js';
import { lostError, stoppedError } from '../run/run-errors.js';
import { StreamError } from '../util/errors.js';
import { agUi, chatCompletions, messages, responses, uiMessages } from './index.js';

/** One stream in a format. */
function streamIn(format: StreamFormat) {
  const state = format.perStream?.() ?? {};
  return {
    send: (...items: unknown[]) => items.map((item) => state.encode?.(item)).join(''),
    fail: (error: unknown) => state.error?.(describeError(error), 'error', error),
    close: state.close?.bind(state),
  };
}

const typesOf = (text: unknown): unknown[] =>
  [...String(text).matchAll(/^data: (\{.*\})$/gm)].map(([, json = '']) => JSON.parse(json).type);

describe('A stream of UI messages', () => {
  const start = (id: string, type = 'text') => ({ type: `${type}-start`, id });
  const end = (id: string, type = 'text') => ({ type: `${type}-end`, id });

  it.each([
    ['all open parts', [start('a'), start('a', 'reasoning')], ['text-end', 'reasoning-end', 'error']],
    ['no part that has ended', [start('a'), end('a'), start('b'), start('c'), end('c')], ['text-end', 'error']],
    ['no part of a step that was reset', [start('a'), { type: 'reset-step' }], ['error']],
    ['nothing if there was nothing', [], ['error']],
  ])('ends %s before an error', (_what, items, types) => {
    const { send, fail } = streamIn(uiMessages);
    send(...items);

    expect(typesOf(fail(new Error('secret')))).toEqual(types);
  });

  it.each([
    ['finish', { type: 'finish' }],
    ['an error of the handler', { type: 'error', errorText: 'mine' }],
    ['abort', { type: 'abort' }],
  ])('adds only [DONE] after %s', (_what, item) => {
    const { send, fail, close } = streamIn(uiMessages);
    send({ type: 'start' }, item);

    expect([fail(new Error('secret')), close?.('shutdown'), close?.('completed')]).toEqual(
      Array(3).fill('data: [DONE]\n\n'),
    );
  });

  it('is aborted if its run was stopped', () => {
    const { send, fail } = streamIn(uiMessages);
    send({ type: 'text-start', id: '1' });

    expect(fail(stoppedError())).toBe(
      'data: {"type":"text-end","id":"1"}\n\ndata: {"type":"abort"}\n\ndata: [DONE]\n\n',
    );
  });

  it.each([
    ['shutdown', 'its server is shutting down: start it again'],
    ['deadline', 'it has reached its maximum duration'],
    ['client-closed', 'its last viewer has left'],
  ] as const)('reports an error if its run was stopped with the reason %s, which nobody wanted', (reason, why) => {
    const { fail } = streamIn(uiMessages);

    expect(fail(stoppedError(reason))).toBe(
      `data: {"type":"error","errorText":"The run was stopped, because ${why}"}\n\ndata: [DONE]\n\n`,
    );
  });

  it('is aborted if it is closed through the registry', () => {
    const { close } = streamIn(uiMessages);

    expect(close?.('server-closed')).toBe('data: {"type":"abort"}\n\ndata: [DONE]\n\n');
  });

  it.each([
    ['shutdown', 'The application is shutting down'],
    ['deadline', 'The stream reached its maximum duration'],
  ] as const)('reports an error if it ends with %s, because clients show no error after abort', (code, errorText) => {
    const { close } = streamIn(uiMessages);

    expect(close?.(code)).toBe(`data: {"type":"error","errorText":"${errorText}"}\n\ndata: [DONE]\n\n`);
  });

  it('reports an error after an item that could not be encoded', () => {
    const { send, fail } = streamIn(uiMessages);

    expect(() => send({ type: 'finish', messageMetadata: 1n })).toThrow(
      expect.objectContaining({ code: 'not-serializable' }),
    );
    expect(typesOf(fail(new Error('secret')))).toEqual(['error']);
  });
});

describe('A stream of responses', () => {
  it('numbers events without a number, after the last number of the handler', () => {
    const { send, fail } = streamIn(responses);

    expect(
      send({ type: 'a' }, { type: 'b', sequence_number: 7, x: 1 }, { type: 'c' }, { type: 'd', sequence_number: null }),
    ).toBe(
      'event: a\ndata: {"type":"a","sequence_number":0}\n\n' +
        'event: b\ndata: {"type":"b","sequence_number":7,"x":1}\n\n' +
        'event: c\ndata: {"type":"c","sequence_number":8}\n\n' +
        'event: d\ndata: {"type":"d","sequence_number":9}\n\n',
    );
    expect(fail(new Error('secret'))).toBe(
      'event: error\ndata: {"type":"error","code":"server_error","message":"Internal server error","param":null,"sequence_number":10}\n\n',
    );
  });

  it('numbers each stream separately', () => {
    const [one, other] = [streamIn(responses), streamIn(responses)];

    expect(one.send({ type: 'a' }, { type: 'b' })).toContain('"sequence_number":1}');
    expect(other.send({ type: 'a' })).toContain('"sequence_number":0}');
  });

  it('refuses a type with a line break', () => {
    expect(() => streamIn(responses).send({ type: 'a\nevent: b' })).toThrow(
      expect.objectContaining({ code: 'invalid-event' }),
    );
  });
});

describe('An error', () => {
  const record = (format: StreamFormat, error: unknown): Record<string, unknown> => {
    const [, json = ''] = /^data: (\{.*\})$/m.exec(String(streamIn(format).fail(error))) ?? [];
    return JSON.parse(json);
  };

  it.each([
    [400, 'invalid_request_error', 'invalid_request_error'],
    [401, 'authentication_error', 'authentication_error'],
    [402, 'invalid_request_error', 'billing_error'],
    [403, 'permission_error', 'permission_error'],
    [404, 'invalid_request_error', 'not_found_error'],
    [408, 'invalid_request_error', 'timeout_error'],
    [413, 'invalid_request_error', 'request_too_large'],
    [422, 'invalid_request_error', 'invalid_request_error'],
    [429, 'rate_limit_error', 'rate_limit_error'],
    [500, 'server_error', 'api_error'],
    [503, 'server_error', 'overloaded_error'],
    [504, 'server_error', 'timeout_error'],
    [529, 'server_error', 'overloaded_error'],
  ])('with the status %d has the types of OpenAI and Anthropic', (status, openAi, anthropic) => {
    const error = new HttpException('No', status);

    expect(record(chatCompletions, error)).toEqual({ error: { message: 'No', type: openAi, code: null, param: null } });
    expect(record(messages, error)).toEqual({ type: 'error', error: { type: anthropic, message: 'No' } });
    expect(record(agUi, error)).toEqual({ type: 'RUN_ERROR', message: 'No', code: String(status) });
  });

  it('has the code and the param of the exception', () => {
    const error = new BadRequestException({ message: 'Too long', code: 'context_length_exceeded', param: 'messages' });

    expect(record(chatCompletions, error)).toMatchObject({
      error: { message: 'Too long', code: 'context_length_exceeded', param: 'messages' },
    });
    expect(record(responses, error)).toMatchObject({ code: 'context_length_exceeded', param: 'messages' });
  });

  it('of a run has its code, and other errors of the package have none', () => {
    expect(record(agUi, stoppedError())).toEqual({
      type: 'RUN_ERROR',
      message: 'The run was stopped',
      code: 'run-stopped',
    });
    expect(record(chatCompletions, lostError())).toMatchObject({ error: { type: 'server_error', code: 'run-lost' } });
    expect(record(responses, new StreamError('hub-closed', 'a secret'))).toMatchObject({
      code: 'server_error',
      message: 'Internal server error',
    });
  });

  it.each([
    [['a must be a string', 'b must be an int'], 'a must be a string, b must be an int'],
    [{ field: 'a' }, '{"field":"a"}'],
  ])('with the message %j has it as text', (message, text) => {
    expect(record(uiMessages, new HttpException({ statusCode: 400, message }, 400))).toMatchObject({ errorText: text });
  });
});

describe('A format of an AI protocol', () => {
  it.each([
    [uiMessages, 'Hello', 'string is not an object with a "type", as each chunk of uiMessages is: return fromText()'],
    [uiMessages, { delta: 'x' }, 'Object is not an object with a "type"'],
    [messages, undefined, 'undefined is not an object with a "type", as each chunk of messages is'],
    [chatCompletions, 'Hello', 'string is not an object, as each chunk of chatCompletions is'],
    [agUi, null, 'null is not an object with a "type"'],
    [responses, Buffer.from('x'), 'Buffer is not an object with a "type"'],
  ])('refuses a chunk of another kind', (format, value, message) => {
    expect(() => streamIn(format).send(value)).toThrow(expect.objectContaining({ code: 'not-serializable' }));
    expect(() => streamIn(format).send(value)).toThrow(message);
  });
});
