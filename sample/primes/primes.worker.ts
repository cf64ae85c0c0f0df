import { produce } from 'nestjs-streaming/worker';

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) {
    if (n % divisor === 0) {
      return false;
    }
  }
  return true;
}

/** Computes in a thread of its own, so that no other stream of the sample waits. */
export default produce(function* (limit: number, signal: AbortSignal) {
  for (let n = 2; n <= limit && !signal.aborted; n++) {
    if (isPrime(n)) {
      yield n;
    }
  }
});
