import { Controller } from '@nestjs/common';
import { Stream } from '../../lib/index.js';
import { PLATFORMS, startApp } from '../support/app.js';

describe.each(PLATFORMS)('%s: a generator', (platform) => {
  it('reaches the client as NDJSON when it yields objects', async () => {
    @Controller()
    class Numbers {
      @Stream('numbers')
      *numbers() {
        yield { i: 1 };
        yield { i: 2 };
      }
    }
    const { url, close } = await startApp(platform, { controllers: [Numbers] });

    const response = await fetch(url('/numbers'));

    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    expect(await response.text()).toBe('{"i":1}\n{"i":2}\n');
    await close();
  });
});
