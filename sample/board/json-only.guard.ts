import { type CanActivate, type ExecutionContext, Injectable, UnsupportedMediaTypeException } from '@nestjs/common';

/** Lets only JSON through: the one kind of body that no form of another site can send. */
@Injectable()
export class JsonOnlyGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Readonly<Record<string, string | undefined>> }>();
    if (!/^application\/json\b/i.test(headers['content-type'] ?? '')) {
      throw new UnsupportedMediaTypeException('a message is JSON');
    }
    return true;
  }
}
