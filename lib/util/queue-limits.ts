/** How much may wait in a queue; whichever limit is reached first counts. */
export interface QueueLimits {
  /** The largest number of items: chunks, events or messages. */
  readonly items: number;
  /** The largest number of bytes that these items have together. */
  readonly bytes: number;
}
