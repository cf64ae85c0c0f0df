import type { StreamCloseError } from '../../util/errors.js';

interface Waiter {
  resolve(): void;
  reject(error: StreamCloseError): void;
}

/** Those who wait for the client to take more. */
export class Waiters {
  private readonly waiting: Waiter[] = [];

  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
  }

  /** There is room. */
  resolve(): void {
    for (const waiter of this.waiting.splice(0)) {
      waiter.resolve();
    }
  }

  /** There never will be. */
  reject(reason: () => StreamCloseError): void {
    for (const waiter of this.waiting.splice(0)) {
      waiter.reject(reason());
    }
  }
}
