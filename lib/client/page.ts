/** The part of a page or worker that the client listens to. */
interface Page {
  readonly document?: { readonly hidden?: boolean };
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
}

const page = globalThis as Page;

/** Whether the code runs in a page that is hidden. */
export function isHidden(): boolean {
  return page.document?.hidden === true;
}

/** Calls the listener when the page becomes hidden or visible, and when the network is back. Returns a function that stops this. */
export function onPageChange(listener: () => void): () => void {
  page.addEventListener?.('visibilitychange', listener);
  page.addEventListener?.('online', listener);
  return () => {
    page.removeEventListener?.('visibilitychange', listener);
    page.removeEventListener?.('online', listener);
  };
}
