type Path = readonly (string | number)[];

/**
 * Returns where in a value `JSON.stringify` fails or loses a promise, and why: `$.user.id is a BigInt …`. It visits the parts of the value in
 * the same order as `JSON.stringify`. Returns `undefined` for other failures, such as an error of a `toJSON()`.
 */
export function unserializablePart(value: unknown): string | undefined {
  try {
    return search(value, [], []);
  } catch {
    // A getter or `toJSON()` threw: the caller reports that error.
    return undefined;
  }
}

/** Returns whether a value is a promise, which `JSON.stringify` would write as `{}`. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** @param ancestors the objects that contain the value, from the outermost */
function search(given: unknown, path: Path, ancestors: readonly unknown[]): string | undefined {
  const value = converted(given, path);
  if (typeof value === 'bigint') {
    return `${pathText(path)} is a BigInt, which has no JSON form: send it as a string or a number`;
  }
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  if (isPromise(value)) {
    return `${pathText(path)} is a promise, which has no JSON form: await it before`;
  }
  const above = ancestors.indexOf(value);
  if (above !== -1) {
    return `${pathText(path)} is ${pathText(path.slice(0, above))} again, and a circular structure has no JSON form: send the fields that are needed`;
  }
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
  for (const key of keys) {
    const found = search((value as Record<string | number, unknown>)[key], [...path, key], [...ancestors, value]);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

/** Returns the value that `JSON.stringify` writes: the result of `toJSON()`, if the value has that method. */
function converted(value: unknown, path: Path): unknown {
  const convertible = (typeof value === 'object' && value !== null) || typeof value === 'bigint';
  const { toJSON } = (convertible ? value : {}) as { readonly toJSON?: unknown };
  return typeof toJSON === 'function' ? toJSON.call(value, String(path.at(-1) ?? '')) : value;
}

function pathText(path: Path): string {
  return path.reduce<string>(
    (text, key) =>
      typeof key === 'string' && /^[A-Za-z_$][\w$]*$/.test(key) ? `${text}.${key}` : `${text}[${JSON.stringify(key)}]`,
    '$',
  );
}
