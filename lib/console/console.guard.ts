import type { IncomingHttpHeaders } from 'node:http';
import {
  type CanActivate,
  type ExecutionContext,
  ForbiddenException,
  Inject,
  Injectable,
  type OnModuleInit,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { isSameOrigin } from '../platform/same-origin.js';
import { instanceFromDI } from '../route/instance-from-di.js';
import { StreamError } from '../util/errors.js';
import type { PlatformRequest } from './incoming.js';
import { isGuard, type StreamingConsoleOptions } from './streaming-console.options.js';

export const CONSOLE_OPTIONS = Symbol('nestjs-streaming:console-options');

const ROLE = { code: 'invalid-option', is: 'the guard of the console', requestIn: 'the context' } as const;

/** Matches the addresses 127.0.0.0/8, also when they are mapped to IPv6, and ::1. */
const LOOPBACK = /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/;

/** Matches host names that no other site can have. */
const LOCAL_NAME = /^((.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * The guard for development. It only allows requests from this machine, even if the port is reachable from others. It also checks the host name,
 * since another site can make its own name point to this machine (DNS rebinding): for a browser, that is the same origin.
 */
const onlyThisMachine: CanActivate = {
  canActivate(context) {
    const { headers, socket } = context.switchToHttp().getRequest<PlatformRequest>();
    if (LOOPBACK.test(socket.remoteAddress ?? '') && LOCAL_NAME.test(hostnameOf(headers))) {
      return true;
    }
    throw new ForbiddenException(
      'Without a guard, the console answers only requests from this machine, to localhost or 127.0.0.1',
    );
  },
};

/** Delegates to the guard in the options of the console. */
@Injectable()
export class ConsoleGuard implements CanActivate, OnModuleInit {
  private guard = onlyThisMachine;

  constructor(
    @Inject(CONSOLE_OPTIONS) private readonly options: StreamingConsoleOptions,
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
  ) {}

  async onModuleInit(): Promise<void> {
    const { guard } = this.options;
    if (guard) {
      this.guard = typeof guard === 'function' ? await instanceFromDI(guard, this.moduleRef, ROLE) : guard;
    }
    if (!isGuard(this.guard)) {
      throw new StreamError(
        'invalid-option',
        `StreamingConsoleModule.forRoot(): "guard" is a class without canActivate()`,
      );
    }
  }

  canActivate(context: ExecutionContext): ReturnType<CanActivate['canActivate']> {
    return this.guard.canActivate(context);
  }
}

/** Refuses requests that a page of another site makes a browser send with the cookies of its user. */
@Injectable()
export class SameOriginGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    if (!isSameOrigin(context.switchToHttp().getRequest())) {
      throw new ForbiddenException('The console does not answer requests from pages of other sites');
    }
    return true;
  }
}

function hostnameOf(headers: IncomingHttpHeaders): string {
  const url = `http://${headers[':authority'] ?? headers.host}`;
  return URL.canParse(url) ? new URL(url).hostname : '';
}
