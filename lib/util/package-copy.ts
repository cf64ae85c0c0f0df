import 'reflect-metadata';
import { StreamError } from './errors.js';

/** The metadata key on the modules of every copy of the package: another version, or the CommonJS build beside the ESM build. */
const COPY = 'nestjs-streaming:copy';

/** The metadata of a module. Version 0.1.0 has no `part`, and marks `StreamingModule` alone. */
interface ModuleMark {
  /** The file from which the copy was loaded. */
  readonly loadedFrom: string;
  /** The name that users know the module by. */
  readonly part?: string;
}

/** A module of an application, as Nest stores it. */
interface ModuleLike {
  readonly metatype: object;
}

const THIS_FILE = callerOf(new Error().stack);

/** The marks that this copy has made. */
const ours = new WeakSet<ModuleMark>();

/** Returns the file of the first line of a stack trace. It is the way to the name of a file that ESM and CommonJS share. */
function callerOf(stack: string | undefined): string {
  const [, file = 'an unknown place'] = /(?:\(|at )((?:file:|\/|[A-Z]:\\).*?):\d+:\d+\)?$/m.exec(stack ?? '') ?? [];
  return file;
}

/** Marks a module of this package. @param part the name that users know it by, such as `StreamingModule.forRoot()` */
export function markModule(module: object, part: string): void {
  const mark: ModuleMark = { loadedFrom: THIS_FILE, part };
  ours.add(mark);
  Reflect.defineMetadata(COPY, mark, module);
}

function marksOf(modules: Iterable<ModuleLike>): ModuleMark[] {
  return [...modules]
    .map(({ metatype }) => Reflect.getMetadata(COPY, metatype) as ModuleMark | undefined)
    .filter((mark) => mark !== undefined);
}

/** Returns whether an application imports a module of this copy. */
export function hasPart(modules: Iterable<ModuleLike>, part: string): boolean {
  return marksOf(modules).some((mark) => ours.has(mark) && mark.part === part);
}

/**
 * Returns the error for an application that imports a module of another copy, or `undefined` if it does not. Copies in different applications
 * of a process do not meet, and are not an error.
 *
 * @param part the part of this copy that meets the module
 */
export function otherCopyIn(modules: Iterable<ModuleLike>, part: string): StreamError | undefined {
  const other = marksOf(modules).find((mark) => !ours.has(mark));
  return (
    other &&
    new StreamError(
      'module-duplicate',
      `The application uses two copies of nestjs-streaming: ${part} comes from ${THIS_FILE}, and ${other.part ?? 'StreamingModule.forRoot()'} from ` +
        `${other.loadedFrom}. Install one version (npm ls nestjs-streaming lists the copies), and load it either with import or with require()`,
    )
  );
}
