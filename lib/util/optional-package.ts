/**
 * Whether an import failed because the package is not installed, and not because it is broken. The import itself stands in a `try`
 * with its literal name where it is needed: bundlers take it for optional only there.
 */
export function isNotInstalled(name: string, error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code?.endsWith('MODULE_NOT_FOUND') === true && message.includes(`'${name}'`);
}
