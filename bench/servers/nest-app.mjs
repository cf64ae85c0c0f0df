import 'reflect-metadata';
import { Controller, Module, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

/**
 * `@decorators method(@parameters …) {}` without a compiler.
 * @param {Function} target the class
 * @param {string} key the method
 * @param {MethodDecorator[]} decorators
 * @param {ParameterDecorator[]} [parameters]
 */
export function decorate(target, key, decorators, parameters = []) {
  parameters.forEach((parameter, index) => {
    parameter(target.prototype, key, index);
  });
  const descriptor = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(target.prototype, key));
  for (const decorator of decorators) {
    decorator(target.prototype, key, descriptor);
  }
  Object.defineProperty(target.prototype, key, descriptor);
}

/** `@Param('count')` */
export const count = Param('count');

/** @param {'express' | 'fastify'} platform */
const adapterOf = (platform) => (platform === 'fastify' ? new FastifyAdapter() : new ExpressAdapter());

/**
 * Creates an application with one controller, which does not listen yet.
 * @param {'express' | 'fastify'} platform
 * @param {Function} controller
 * @param {import('@nestjs/common').DynamicModule[]} [imports]
 * @param {import('@nestjs/common').HttpServer} [adapter] in place of the one of the platform
 */
export async function nestServer(platform, controller, imports = [], adapter = adapterOf(platform)) {
  class AppModule {}
  Controller()(controller);
  Module({ imports, controllers: [controller] })(AppModule);
  const app = await NestFactory.create(AppModule, adapter, { logger: ['error', 'warn'] });
  await app.init();
  if (platform === 'fastify') {
    await app.getHttpAdapter().getInstance().ready();
  }
  return app.getHttpServer();
}
