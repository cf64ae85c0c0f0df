import type { StreamCloseError } from '../../util/errors.js';

interface Waiter {
  resolve(): void;
  reject(error: StreamCloseError): void;
}

/** The senders that wait until the client can take more. */
export class Waiters {
  private readonly waiting: Waiter[] = [];

  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
  }

  /** Called when there is room. */
  resolve(): void {
    for (const waiter of this.waiting.splice(0)) {
      waiter.resolve();
    }
  }

  /** Called when the stream has ended. */
  reject(reason: () => StreamCloseError): void {
    for (const waiter of this.waiting.splice(0)) {
      waiter.reject(reason());
    }
  }
}
