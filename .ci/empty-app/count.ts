import { produce } from 'nestjs-streaming/worker';

export default produce(function* (limit: number) {
  for (let n = 1; n <= limit; n++) yield { n };
});
