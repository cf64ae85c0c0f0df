import { NestFactory } from '@nestjs/core';
import { TestingModule } from '@nestjs/testing';
import { type ExpressApplication, StreamingExpressAdapter } from '../../lib/express/index.js';

const createHttpAdapter = (instance?: ExpressApplication) => new StreamingExpressAdapter(instance);

// With EXPRESS_ADAPTER=streaming, every application on Express that is created without an adapter has that of this package: see `.ci/suite-on-adapter`.
for (const factory of [NestFactory, TestingModule.prototype]) {
  Object.assign(factory, { createHttpAdapter });
}
