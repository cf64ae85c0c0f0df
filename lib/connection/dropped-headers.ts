import type { StreamSettings } from './stream-settings.js';

/** Logs a warning with the headers of the application that are not sent, once for each route and header. */
export function warnOfDropped(names: readonly string[], settings: StreamSettings, format: string | undefined): void {
  if (names.length === 0) {
    return;
  }
  const { dropped, route, services } = settings;
  const unnamed = names.filter((name) => !dropped.has(name));
  for (const name of unnamed) {
    dropped.add(name);
  }
  const framing = unnamed.filter((name) => name !== 'content-type');
  if (framing.length > 0) {
    services.logger.warn(
      `${route}: the header ${framing.join(', ')} is not sent: the server frames a stream and keeps its connection. Do not set it`,
    );
  }
  if (framing.length < unnamed.length) {
    services.logger.warn(
      `${route}: the header content-type is not sent as it was set: clients need the type of the format ${format} to read the body. Do not set it, or use the format text or bytes`,
    );
  }
}
