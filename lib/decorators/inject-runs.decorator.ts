import { Inject } from '@nestjs/common';

/**
 * Returns the injection token of runs, for tests, factories and `app.get()`.
 *
 * @example
 * ```ts
 * const runs = app.get<Runs>(getRunsToken('answers'));
 * ```
 */
export function getRunsToken(name: string): string {
  return `StreamingRuns_${name}`;
}

/**
 * Injects the runs with this name. They can be registered with `StreamingModule.registerRuns()` in any module of the application.
 *
 * If no module has registered them, the application does not start: Nest reports that it cannot resolve the dependency `StreamingRuns_<name>`.
 * With `@Optional()`, `undefined` is injected instead.
 *
 * @example
 * ```ts
 * constructor(@InjectRuns('answers') private readonly runs: Runs<Token>) {}
 * ```
 */
export function InjectRuns(name: string): ParameterDecorator & PropertyDecorator {
  return Inject(getRunsToken(name));
}
