import type { Message } from './inbox.js';

/** What hears the first message of a client that may be about the stream, and not for it. */
export interface FirstMessage {
  /** The client can send now. */
  begin(): void;
  /** Whether it was meant for it. */
  take(message: Message): boolean;
  /** None comes any more. */
  end(): void;
}
