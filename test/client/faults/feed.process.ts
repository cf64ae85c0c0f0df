// The server of a FeedProcess. It is a separate program, whose argument is what its log contains.
import { Feed, type Published } from './feed.js';
import type { ToParent } from './scene.js';

const send = (message: ToParent): void => void process.send?.(message);
const feed = await Feed.start(JSON.parse(process.argv[2] ?? '[]'), {
  onRequest: (request) => send({ request }),
  onLeft: (left) => send({ left }),
});
process.on('message', ({ who, n }: Published) => void feed.publish(who, n));
process.once('disconnect', () => process.exit());
send({ port: feed.port });
