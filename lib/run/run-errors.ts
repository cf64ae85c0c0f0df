import { markReported, StreamCloseError, StreamError } from '../util/errors.js';
import type { RunStopReason } from './run.options.js';
import type { RunEnd } from './run-record.js';

const STOPPED: Readonly<Record<RunStopReason, string>> = {
  stopped: 'The run was stopped',
  'client-closed': 'The run was stopped, because its last viewer has left',
  deadline: 'The run was stopped, because it has reached its maximum duration',
  shutdown: 'The run was stopped, because its server is shutting down: start it again',
  replaced: 'The run was stopped, because a new one with the same id was started',
};

/** The error of the viewers of a run that was stopped. Its cause says why. */
export function stoppedError(reason: RunStopReason = 'stopped'): StreamError {
  const statusCode = reason === 'shutdown' ? 503 : 409;
  return markReported(new StreamError('run-stopped', STOPPED[reason], { statusCode, cause: abortReason(reason) }));
}

/** The error of the viewers of a run whose process has crashed, or could not write the end of the run. */
export function lostError(): StreamError {
  return markReported(
    new StreamError('run-lost', 'The run was lost with the process that produced it: start it again', {
      statusCode: 503,
    }),
  );
}

/** The error of the viewers of a run whose log is not there any more, while its end is not known. */
export function goneError(): StreamError {
  return markReported(
    new StreamError('run-lost', 'The run is not there any more: it was removed, or its store has lost it', {
      statusCode: 503,
    }),
  );
}

/** The error of the viewers of a run that has completed, and whose log was removed before they had read it. */
export function forgottenError(): StreamError {
  return markReported(
    new StreamError('run-unknown', 'The run has completed, and is not kept any more', { statusCode: 404 }),
  );
}

/** The error of the viewers of a run of another process, when this process closes. */
export function elsewhereError(): StreamError {
  return markReported(
    new StreamError('run-elsewhere', 'The server is shutting down, and the run goes on: join it again', {
      statusCode: 503,
    }),
  );
}

export function existsError(id: string): StreamError {
  return new StreamError('run-exists', `The run ${JSON.stringify(id)} is in progress`, { statusCode: 409 });
}

export function unknownError(): StreamError {
  return new StreamError('run-unknown', 'There is no such run', { statusCode: 404 });
}

/** The reason with which the signal of a run is aborted. */
export function abortReason(reason: RunStopReason): StreamCloseError {
  return new StreamCloseError(reason === 'replaced' ? 'stopped' : reason, STOPPED[reason]);
}

/**
 * Returns the error of the viewers of a run that has not completed.
 * @param errorOf creates the error that Nest's exception filter responds to with a body
 */
export function errorOfEnd(
  { status, reason, error }: RunEnd,
  errorOf: (body: NonNullable<RunEnd['error']>) => unknown,
): unknown {
  if (status === 'stopped') {
    return stoppedError(reason);
  }
  return status === 'failed' && error ? errorOf(error) : lostError();
}
