import { Controller, type Type } from '@nestjs/common';
import {
  Hub,
  type HubOptions,
  InjectHub,
  LastEventId,
  Stream,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import type { AppSetup, Platform } from './app.js';
import { hubOf } from './hub.js';
import { type RunningApp, useApps } from './running.js';

/** Sends the same events in two ways: by a subscription that is returned, and by one that is iterated. */
@Controller()
export class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('returned', { format: ['sse', 'ndjson'] })
  returned(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('iterated', { format: ['sse', 'ndjson'] })
  async *iterated(@StreamSignal() signal: AbortSignal, @LastEventId() after?: string) {
    for await (const event of this.hub.subscribe({ after, signal })) {
      yield event;
    }
  }
}

type Setup = Omit<AppSetup, 'controllers'> & { readonly hub?: Partial<HubOptions> };

/** Starts applications with the hub `feed`, which are closed after each test. */
export function useHubApps() {
  const launch = useApps();
  return async (
    platform: Platform,
    controllers: Type[],
    { hub = {}, ...setup }: Setup = {},
  ): Promise<RunningApp & { readonly hub: Hub }> => {
    const imports = [StreamingModule.registerHub({ name: 'feed', ...hub })];
    const app = await launch(platform, { ...setup, controllers, imports });
    return { ...app, hub: hubOf(app) };
  };
}
