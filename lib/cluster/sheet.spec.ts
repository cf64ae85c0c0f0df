import type { BrokerRoster } from '../broker/roster.js';
import { Sheet } from './sheet.js';

describe('A sheet of figures', () => {
  it('stores a figure that changes at any moment while it stores earlier ones', async () => {
    for (let ticks = 0; ticks < 12; ticks++) {
      const stored = new Map<string, number>();
      const put: BrokerRoster['put'] = async (_log, _process, figures) => {
        for (const [name, figure] of figures) {
          stored.set(name, figure);
        }
        return true;
      };
      const figures = new Map([['first', 1]]);
      const sheet = new Sheet({ put, list: async () => new Map() }, 'log', 'process', () => new Map(figures));

      const earlier = sheet.put();
      for (let tick = 0; tick < ticks; tick++) {
        await undefined;
      }
      figures.set('second', 2);
      await sheet.put();
      await earlier;

      expect([ticks, stored.get('second')]).toEqual([ticks, 2]);
    }
  });
});
