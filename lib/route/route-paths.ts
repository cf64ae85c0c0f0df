import 'reflect-metadata';
import { type Type, type VersioningOptions, VersioningType } from '@nestjs/common';
import { METHOD_METADATA, MODULE_PATH, PATH_METADATA, VERSION_METADATA } from '@nestjs/common/constants.js';
import type { ApplicationConfig, ModulesContainer } from '@nestjs/core';
import { RoutePathFactory } from '@nestjs/core/router/route-path-factory.js';

type Metadata = Parameters<RoutePathFactory['create']>[0];

/** The classes and the method that determine a path. */
interface Mapped {
  readonly controller: Type;
  readonly handler: object;
  /** The class of the module. */
  readonly module: Type | undefined;
}

function slashed(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

function pathsAt(target: object): string[] {
  const paths = (Reflect.getMetadata(PATH_METADATA, target) as string | string[] | undefined) ?? [];
  return [paths].flat().map(slashed);
}

/** Returns the full paths under which Nest registers a route, with the global prefix, the path of the module, and a version in the URL. */
export function fullPaths(route: Mapped, config: ApplicationConfig, modules: ModulesContainer): string[] {
  const { controller, handler, module } = route;
  const factory = new RoutePathFactory(config);
  const versioning = config.getVersioning();
  const modulePath: unknown =
    module &&
    (Reflect.getMetadata(MODULE_PATH + modules.applicationId, module) ?? Reflect.getMetadata(MODULE_PATH, module));
  return pathsAt(controller).flatMap((ctrlPath) =>
    pathsAt(handler).flatMap((methodPath) =>
      factory.create(
        {
          ctrlPath,
          methodPath,
          modulePath: modulePath as Metadata['modulePath'],
          globalPrefix: slashed(config.getGlobalPrefix()),
          controllerVersion:
            versioning && (Reflect.getMetadata(VERSION_METADATA, controller) ?? versioning.defaultVersion),
          methodVersion: Reflect.getMetadata(VERSION_METADATA, handler),
          versioningOptions: versioning,
        } as Metadata,
        Reflect.getMetadata(METHOD_METADATA, handler),
      ),
    ),
  );
}

/**
 * Returns a pattern for the parameter that holds the version of a route in `Accept: application/json;v=2`. Nest does not treat it as a
 * parameter of the media type, so it is removed before the format is negotiated. Returns `undefined` if the application has no versions in
 * media types.
 */
export function versionParameterOf(versioning: VersioningOptions | undefined): RegExp | undefined {
  if (versioning?.type !== VersioningType.MEDIA_TYPE) {
    return undefined;
  }
  const key = versioning.key.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`;[ \\t]*${key}(?:"(?:[^"\\\\]|\\\\.)*"|[^,;"])*`, 'gi');
}
