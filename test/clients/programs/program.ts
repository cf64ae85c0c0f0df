// The side of a client's process: see ClientProcess.
import { setImmediate } from 'node:timers/promises';

/** One call of a function in the process of a client. */
export interface ClientCall {
  /** Reports something that the client has passed to its user. */
  report(item: unknown): void;
  /** Aborted when the test aborts the call. */
  readonly signal: AbortSignal;
}

export type ClientFunction = (call: ClientCall, ...args: never[]) => Promise<unknown>;

/** What a test learns of an error. */
export interface ClientError {
  readonly name: string;
  readonly message: string;
  readonly status?: number;
  readonly code?: string | number;
  readonly type?: string;
}

export type ToProgram =
  | { readonly id: number; readonly name: string; readonly args: readonly unknown[] }
  | { readonly abort: number }
  | { readonly unhandled: true };

export type FromProgram =
  | { readonly ready: true }
  | { readonly id: number; readonly item: unknown }
  | { readonly id: number; readonly result?: unknown; readonly error?: ClientError }
  | { readonly unhandled: readonly string[] };

/** Long enough for what a client does after its answer, such as cancelling a body. */
const TURNS = 20;

/** Describes an error, with those fields that a user would look at. */
export function describeError(error: unknown): ClientError {
  const { name, message, status, statusCode, code, type } = Object(error) as Record<string, unknown>;
  // Some packages name their classes only.
  const kind = name === 'Error' ? Object(error).constructor.name : name;
  return {
    name: String(kind),
    message: String(message),
    ...(typeof (status ?? statusCode) === 'number' && { status: Number(status ?? statusCode) }),
    ...((typeof code === 'string' || typeof code === 'number') && { code }),
    ...(typeof type === 'string' && { type }),
  };
}

/** Runs the functions that a test calls. It also records what would have ended the process of a user. */
export function serve(functions: Readonly<Record<string, ClientFunction>>): void {
  const unhandled: string[] = [];
  const calls = new Map<number, AbortController>();
  const record = (error: unknown) => void unhandled.push(error instanceof Error ? String(error.stack) : String(error));
  const send = (message: FromProgram) => void process.send?.(message);

  const run = async (id: number, name: string, args: readonly unknown[]): Promise<void> => {
    const controller = new AbortController();
    calls.set(id, controller);
    try {
      const call = { report: (item: unknown) => send({ id, item: item ?? null }), signal: controller.signal };
      send({ id, result: await functions[name]?.(call, ...(args as never[])) });
    } catch (error) {
      send({ id, error: describeError(error) });
    } finally {
      calls.delete(id);
    }
  };

  process.on('unhandledRejection', record).on('uncaughtException', record);
  process.on('message', async (message: ToProgram) => {
    if ('abort' in message) {
      calls.get(message.abort)?.abort();
    } else if ('unhandled' in message) {
      for (let i = 0; i < TURNS; i++) {
        await setImmediate();
      }
      send({ unhandled: unhandled.splice(0) });
    } else {
      await run(message.id, message.name, message.args);
    }
  });
  send({ ready: true });
}
