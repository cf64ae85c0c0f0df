/** A `Vary` with one more field name (RFC 9110 §12.5.5). */
export function withVary(current: number | string | readonly string[] | undefined, name: string): string {
  const fields = String(current ?? '')
    .split(',')
    .map((field) => field.trim())
    .filter((field) => field !== '');
  const covered = fields.some((field) => field === '*' || field.toLowerCase() === name.toLowerCase());
  return (covered ? fields : [...fields, name]).join(', ');
}
