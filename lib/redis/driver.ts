/** A connection of a driver to one server. It is used until it is lost, and never connects again. */
export interface Wire {
  /** Sends a command. Redis answers commands in their order. */
  send(args: string[]): Promise<unknown>;
  /** Receives the messages of channels, none of which has a listener. A channel belongs to the slot of its name as a key does. */
  subscribe(channels: readonly string[], listener: OnMessage): Promise<unknown>;
  /** Ends that for channels that have the same listener. A later call of `subscribe()` may follow at once. */
  unsubscribe(channels: readonly string[]): Promise<unknown>;
  /** Closes the socket at once. */
  destroy(): void;
}

export type OnMessage = (message: string, channel: string) => void;

/** Names a server in messages. A server without TLS does not answer a client with TLS, so that messages say which one the client is. */
export function serverAt(address: string, tls: boolean): string {
  return `Redis at ${address}${tls ? ' (with TLS)' : ''}`;
}

/** Called when a connection is lost, perhaps more than once. */
export type OnLost = (error: unknown) => void;

/** Opens connections to the servers that the client of an application uses, with options of the broker. */
export interface Driver {
  /** Whether keys live on different servers. */
  readonly cluster: boolean;
  /** Names the server in messages. Contains no password. */
  readonly server: string;
  /**
   * Connects to the server that has a key, and accepts writes.
   * @param timeout how long the driver may wait for the server, in milliseconds
   * @param track called with a function that ends the attempt and the connection, as soon as there is one
   */
  connect(key: string, timeout: number, onLost: OnLost, track: (destroy: () => void) => void): Promise<Wire>;
}
