type Constructor = new (...args: never[]) => object;

/** The classes that `sharedClass()` has made, by their prototypes. */
const known = new WeakMap<object, Constructor>();

/**
 * Returns a class whose instances are created with the prototype that an application of Express sets on every request, or on every response. Express'
 * `Object.setPrototypeOf()` then changes nothing. Otherwise, V8 before Node.js 24 gives each object a hidden class of its own, as soon as
 * a property is added after the change.
 *
 * The prototype of a class cannot be assigned. So the prototype of the new class takes over the place and the properties of the old one, which is
 * left empty and inherits from it: applications that were mounted before find both in their chain.
 *
 * @param app an application of Express
 * @param key which of its prototypes
 * @param base the class that a server would create instances of otherwise
 */
export function sharedClass<Key extends string, T extends Constructor>(app: Record<Key, object>, key: Key, base: T): T {
  const before = app[key];
  const made = known.get(before);
  if (made && Object.getPrototypeOf(made) === base) {
    return made as T;
  }
  const Base: Constructor = base;
  class Shared extends Base {}
  const { prototype } = Shared;
  // The property `constructor` is inherited, as it is with Express.
  Reflect.deleteProperty(prototype, 'constructor');
  Object.setPrototypeOf(prototype, Object.getPrototypeOf(before));
  Object.defineProperties(prototype, Object.getOwnPropertyDescriptors(before));
  for (const name of Reflect.ownKeys(before)) {
    Reflect.deleteProperty(before, name);
  }
  Object.setPrototypeOf(before, prototype);
  app[key] = prototype as Record<Key, object>[Key];
  known.set(prototype, Shared);
  return Shared as T;
}
