import { type CanActivate, type ExecutionContext, Injectable, UnsupportedMediaTypeException } from '@nestjs/common';

/** Accepts only JSON, because a form of another site cannot send it. */
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
