import type { StreamConnection } from '../connection/stream-connection.js';
import { ID_PARAMETER } from '../platform/last-event-id.js';
import { targetOf } from '../platform/platform.js';
import type { Run, SettingsOfRun } from '../run/run.options.js';
import { idOfRoute, newSecret, secretIn } from '../run/run-naming.js';
import type { RunView } from '../run/run-view.js';
import type { Runs } from '../run/runs.js';

/** The maximum length of `Content-Location`, in characters: some proxies accept heads of at most 4 KiB. */
const LONGEST_LOCATION = 2_048;

/** The part of the stream to a client that its run uses. */
type Viewer = Pick<StreamConnection, 'request' | 'lastEventId' | 'header'>;

/** Starts and joins the runs of a route whose handler is their producer. */
export class RunRoute {
  /** @param route `Class.method` */
  constructor(
    private readonly runs: Runs,
    private readonly route: string,
    private readonly settings: SettingsOfRun,
  ) {}

  /** Returns a view of the run that the request names, or else of a new one. */
  view(viewer: Viewer, produce: (run: Run) => unknown): Promise<RunView> {
    const target = targetOf(viewer.request);
    const [path = ''] = target.split('?', 1);
    if (viewer.lastEventId) {
      return this.join(path, viewer.lastEventId);
    }
    const secret = newSecret();
    const location = joiningUrl(target, secret);
    // A proxy refuses a head that is too large. The ids of the events say the same.
    if (location.length <= LONGEST_LOCATION) {
      // Set now, since the head may be sent before the run has started.
      viewer.header('Content-Location', location);
    }
    return this.runs.startNew(idOfRoute(this.route, path, secret), produce, this.settings);
  }

  private join(path: string, lastEventId: string): Promise<RunView> {
    // Without a secret, it is the id of no run.
    const secret = secretIn(lastEventId) ?? '';
    const after = lastEventId === secret ? undefined : lastEventId;
    return this.runs.join(idOfRoute(this.route, path, secret), { after });
  }
}

/** Returns the URL of a request with the id of a run in its query. */
function joiningUrl(target: string, secret: string): string {
  const [path = '', query = ''] = target.split('?', 2);
  const others = query.split('&').filter((each) => each !== '' && !each.startsWith(`${ID_PARAMETER}=`));
  return `${path}?${[...others, `${ID_PARAMETER}=${secret}`].join('&')}`;
}
