import 'reflect-metadata';
import { Inject, Injectable, type OnModuleInit, type PipeTransform } from '@nestjs/common';
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { StreamError } from '../util/errors.js';

/** The metadata key on `StreamingModule` of every copy of the package. Its value says from where that copy was loaded. */
const COPY = 'nestjs-streaming:copy';

/** Describes this copy of the package. Each copy has a different object. */
const THIS_COPY = { loadedFrom: callerOf(new Error().stack) };

/** Returns the file of the first line of a stack trace. */
function callerOf(stack: string | undefined): string {
  const [, file = 'an unknown place'] = /(?:\(|at )((?:file:|\/|[A-Z]:\\).*?):\d+:\d+\)?$/m.exec(stack ?? '') ?? [];
  return file;
}

/** Marks the module whose `forRoot()` an application has to import. */
export function markModule(module: object): void {
  Reflect.defineMetadata(COPY, THIS_COPY, module);
}

/**
 * Refuses to start an application that has streams, but does not import `StreamingModule.forRoot()`. Nest creates an instance in every module
 * with a stream, since it is a pipe of a parameter. Nest never runs pipes on that parameter, so requests are not slower. Without an HTTP
 * server, as in a unit test that calls methods directly, the module is not needed.
 */
@Injectable()
export class ModuleCheck implements PipeTransform, OnModuleInit {
  constructor(
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {}

  onModuleInit(): void {
    if (!this.host.httpAdapter) {
      return;
    }
    const copies = [...this.modules.values()]
      .map(({ metatype }) => Reflect.getMetadata(COPY, metatype) as typeof THIS_COPY | undefined)
      .filter((copy) => copy !== undefined);
    if (!copies.includes(THIS_COPY)) {
      throw copies[0] ? loadedTwice(copies[0].loadedFrom) : missing();
    }
  }

  transform(value: unknown): unknown {
    return value;
  }
}

function missing(): StreamError {
  return new StreamError(
    'module-missing',
    'The application has streams, but StreamingModule.forRoot() is not among its imports: import it in the root module',
  );
}

function loadedTwice(other: string): StreamError {
  return new StreamError(
    'module-duplicate',
    `Two copies of nestjs-streaming are loaded: @Stream() or @Sse() is of ${THIS_COPY.loadedFrom}, and StreamingModule.forRoot() of ${other}. ` +
      'Install it once (npm ls nestjs-streaming shows where it is), and load it in one way, with import or with require()',
  );
}
