import type { ServerResponse } from 'node:http';

const LISTENERS = Symbol('nestjs-streaming:response-close');

type Listener = (this: ServerResponse) => void;
type ClosableResponse = ServerResponse & { [LISTENERS]?: Listener | readonly Listener[] };

/**
 * Calls back when a response closes, in the order of registration. The response gets one listener of `close`, since an emitter allocates room for
 * twenty listeners as soon as it has three: 200 bytes for each open stream.
 */
export function onceResponseCloses(response: ServerResponse, listener: Listener): void {
  const closable: ClosableResponse = response;
  const present = closable[LISTENERS];
  if (present === undefined) {
    closable[LISTENERS] = listener;
    response.on('close', onClose);
  } else {
    // Not `[...present, listener]`, which would allocate room for twenty too.
    closable[LISTENERS] = typeof present === 'function' ? [present, listener] : present.concat(listener);
  }
}

function onClose(this: ClosableResponse): void {
  const { [LISTENERS]: listeners } = this;
  if (typeof listeners === 'function') {
    listeners.call(this);
  } else {
    for (const listener of listeners ?? []) {
      listener.call(this);
    }
  }
}
