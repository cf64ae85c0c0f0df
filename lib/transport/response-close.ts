import type { ServerResponse } from 'node:http';

const LISTENERS = Symbol('nestjs-streaming:response-close');

type Listener = (this: ServerResponse) => void;
type ClosableResponse = ServerResponse & { [LISTENERS]?: Listener | readonly Listener[] };

/** The lists of listeners that are in use, by the listeners before the last one, and by the last one. Responses with the same listeners share a list. */
const lists = new WeakMap<Listener | readonly Listener[], WeakMap<Listener, readonly Listener[]>>();

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
    closable[LISTENERS] = listOf(present, listener);
  }
}

/** Returns the list of the present listeners and one more. A list for each response would take 70 bytes as long as the response is open. */
function listOf(present: Listener | readonly Listener[], listener: Listener): readonly Listener[] {
  let longer = lists.get(present);
  if (!longer) {
    longer = new WeakMap();
    lists.set(present, longer);
  }
  let list = longer.get(listener);
  if (!list) {
    list = typeof present === 'function' ? [present, listener] : [...present, listener];
    longer.set(listener, list);
  }
  return list;
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
