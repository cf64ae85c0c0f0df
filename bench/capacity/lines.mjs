import { CORE_SHARE } from './plan.mjs';

/** A plan in words, for the script and for the page. It runs in browsers. */

/** @param {number} value */
export const whole = (value) => Math.round(value).toLocaleString('en');
/** @param {number} value */
export const short = (value) => (value >= 100 ? whole(value) : Number(value.toPrecision(3)).toLocaleString('en'));
/** @param {number} bytes */
const size = (bytes) =>
  bytes >= 1e9 ? `${short(bytes / 1e9)} GB` : bytes >= 1e6 ? `${short(bytes / 1e6)} MB` : `${whole(bytes)} bytes`;

/** The lines of a plan, each with its name. @param {ReturnType<typeof import('./plan.mjs').plan>} planned @returns {[string, string][]} */
export function linesOf({ processes, used, store, stores, reconnects, first }) {
  const cores = (/** @type {number} */ value) => `${short(value)} cores`;
  return [
    [
      'processes, of which each uses half of a core at most',
      processes === undefined ? 'no number is enough' : whole(processes),
    ],
    ['events a second that a process receives', whole(used.received)],
    ['of which its clients want', whole(used.wanted)],
    [
      'CPU of a process',
      `${cores(used.cores)}: ${short(used.delivering)} to deliver, ${short(used.hearing)} to receive what its clients do not want, ${short(used.publishing)} to publish`,
    ],
    ['memory of a process', size(used.memory)],
    [
      'CPU of the store',
      `${cores(store.cores)}: ${short(store.appending)} to append, ${short(store.telling)} to tell the processes`,
    ],
    ['stores, each at half of a core', whole(stores)],
    ['memory of the stores', size(store.memory)],
    ['reconnects a second after a restart of all processes', whole(reconnects.perSecond)],
    ['CPU of each process for them', cores(reconnects.cores)],
    [
      'what fails first',
      first.filter(({ used: part, of }) => part / of >= CORE_SHARE).map(({ what }) => what)[0] ??
        `nothing yet: next is ${first[0].what}`,
    ],
  ];
}
