import 'reflect-metadata';
import { Inject, Injectable, type OnModuleInit, type PipeTransform } from '@nestjs/common';
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { StreamError } from '../util/errors.js';

/** On `StreamingModule` of every copy of the package: where that copy was loaded from. */
const COPY = 'nestjs-streaming:copy';

/** This copy of the package. The identity of the object tells copies apart. */
const THIS_COPY = { loadedFrom: callerOf(new Error().stack) };

/** The file that a stack trace begins with. */
function callerOf(stack: string | undefined): string {
  const [, file = 'an unknown place'] = /(?:\(|at )((?:file:|\/|[A-Z]:\\).*?):\d+:\d+\)?$/m.exec(stack ?? '') ?? [];
  return file;
}

/** Marks the module whose `forRoot()` an application has to import. */
export function markModule(module: object): void {
  Reflect.defineMetadata(COPY, THIS_COPY, module);
}

/**
 * Refuses to start an application that has streams and no `StreamingModule.forRoot()`. Nest makes one for every module with a stream, as
 * the pipe of a parameter that it never runs pipes on: requests do not pay for it. Where there is no HTTP server, as in a unit test that
 * calls methods by hand, the module is not needed.
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
