import { Inject, Injectable, type OnModuleInit, type PipeTransform } from '@nestjs/common';
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { StreamError } from '../util/errors.js';
import { hasPart, otherCopyIn } from '../util/package-copy.js';

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
    const modules = [...this.modules.values()];
    if (this.host.httpAdapter && !hasPart(modules, 'StreamingModule.forRoot()')) {
      throw otherCopyIn(modules, '@Stream() or @Sse()') ?? missing();
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
